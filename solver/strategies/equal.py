"""Exact choice of options at equal shares: latencies are separable, so every deadline that matters can be tried."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray, all_occur
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.planning_problem import ENERGY, TIME_TO_TARGET, PlanningProblem
from hybridsplit.solver.search.knapsack import best_within_limits
from hybridsplit.solver.search.label_setting import best_by_labels
from hybridsplit.solver.search.least_energy import least_energy

_LABELS = 2_000


@dataclass(frozen=True)
class EqualShareChoice:
    """The best options at equal shares.

    Parameters
    ----------
    rows
        [N] row of the problem for every client.
    objective_s
        Objective at equal shares, seconds (joules where energy is minimised).
    """

    rows: IntArray
    objective_s: float


def best_at_equal_shares(
    problem: PlanningProblem, mask: BoolArray, better_than_s: float = np.inf
) -> EqualShareChoice | None:
    """Choose options among some rows so that the objective at equal shares is smallest.

    Arguments and result as of :func:`best_at_shares`.
    """
    return best_at_shares(problem, mask, problem.work.latency_s(problem.equal_shares), better_than_s)


def best_at_shares(
    problem: PlanningProblem, mask: BoolArray, row_latency_s: FloatArray, better_than_s: float = np.inf
) -> EqualShareChoice | None:
    """Choose options among some rows so that the objective at fixed shares is smallest.

    Parameters
    ----------
    problem
        The planning problem.
    mask
        [K] rows to choose from, at least one for every client.
    row_latency_s
        [K] latency of every row at its client's share, seconds.
    better_than_s
        Give up on choices that are no better.

    Returns
    -------
    EqualShareChoice or None
        None if no choice keeps server memory and least progress, or none is better than asked.

    Notes
    -----
    With shares fixed every option has one latency. For a deadline the best progress is each client's largest
    among options in time, and only latencies of options are deadlines worth trying. They are tried from the best
    attainable objective on, so the first that keeps the server's memory settles it.
    """
    candidates = np.flatnonzero(mask)
    latency_s = row_latency_s[candidates]
    order = np.argsort(latency_s, kind="stable")
    deadlines, progress = _frontier(problem, candidates[order], latency_s[order])
    least = -np.inf if problem.objective == TIME_TO_TARGET else problem.minimum_progress * (1 - 1e-12)
    reaches = progress >= least  # for a target it is the gain that is known here; the limit is checked below
    if problem.objective == ENERGY:
        return _least_energy(problem, candidates)
    objective = np.array([problem.objective_s(t, g) for t, g in zip(deadlines, progress, strict=True)])
    objective = np.where(reaches, objective, np.inf)
    best: EqualShareChoice | None = None
    for trial in np.argsort(objective, kind="stable"):
        limit_s = better_than_s if best is None else best.objective_s
        if not objective[trial] < limit_s:
            break
        rows = _within_deadline(problem, candidates[latency_s <= deadlines[trial]], row_latency_s)
        if rows is None:
            continue
        value_s = problem.objective_of(rows, float(row_latency_s[rows].max()))
        if value_s < limit_s:
            best = EqualShareChoice(rows, value_s)
    return best


def _frontier(problem: PlanningProblem, rows: IntArray, latency_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Deadlines at which every client has an option, and the largest progress by each, server memory aside."""
    best = [-math.inf] * problem.num_clients
    total, missing = 0.0, problem.num_clients
    deadlines: list[float] = []
    reached: list[float] = []
    clients, gains = problem.client_index[rows].tolist(), problem.gain[rows].tolist()
    for client, gain, seconds in zip(clients, gains, latency_s.tolist(), strict=True):
        before = best[client]
        if gain > before:
            if before == -math.inf:
                missing, before = missing - 1, 0.0
            total += gain - before
            best[client] = gain
            if missing == 0:
                deadlines.append(seconds)
                reached.append(total)
    return np.array(deadlines), np.array(reached)


def _within_deadline(problem: PlanningProblem, rows: IntArray, row_latency_s: FloatArray) -> IntArray | None:
    """[N] rows with the most progress under server memory, faster ones first among equals."""
    order = np.lexsort((row_latency_s[rows], -problem.gain[rows], problem.client_index[rows]))
    first = np.unique(problem.client_index[rows][order], return_index=True)[1]
    chosen = rows[order][first]
    if problem.keeps_limits(chosen):
        return np.asarray(chosen, dtype=np.int64)
    mask = np.zeros(problem.num_rows, dtype=bool)
    mask[rows] = True
    if not all_occur(problem.client_index[rows], problem.num_clients):
        return None
    kinds = group_alike(problem.restricted(mask))
    found = best_by_labels(kinds, kinds.progress, _LABELS)
    counts = found.counts
    if counts is None and not found.complete:
        counts = best_within_limits(kinds, kinds.progress, np.ones(len(kinds.rows), dtype=bool))
    if counts is None:
        return None
    return np.asarray(np.flatnonzero(mask)[kinds.rows_of(counts)], dtype=np.int64)


def _least_energy(problem: PlanningProblem, candidates: IntArray) -> EqualShareChoice | None:
    mask = np.zeros(problem.num_rows, dtype=bool)
    mask[candidates] = True
    kinds = group_alike(problem.restricted(mask))
    try:
        found = least_energy(kinds)
    except InfeasibleError:
        return None
    return EqualShareChoice(np.flatnonzero(mask)[kinds.rows_of(found.counts)], found.energy_j)
