"""What strategies have in common: clients choosing by a score of their own, within the limits that couple them."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.modes import Gradient, modes_with
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.infeasible import MAX_NAMED_CLIENTS
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.knapsack import best_within_limits
from hybridsplit.solver.search.label_setting import best_by_labels

_LABELS = 5_000
_MAX_RATIO_STEPS = 30


def modes_mask(problem: PlanningProblem, modes: frozenset[str] | set[str]) -> BoolArray:
    """[K] True for the rows of some modes."""
    return np.asarray(problem.options["mode"].isin(modes).to_numpy())


def exact_modes() -> frozenset[str]:
    """Names of the modes with exact gradients."""
    return frozenset(modes_with(Gradient.EXACT))


_LEAST_PROGRESS = 1e-9


def require_everybody(problem: PlanningProblem, mask: BoolArray, strategy: str, what: str) -> None:
    """Check that every client has a row in a mask.

    Parameters
    ----------
    problem, mask
        The planning problem, and [K] the rows that count.
    strategy, what
        For the message: who asks, and what the rows have in common.

    Raises
    ------
    InfeasibleError
        Naming the clients that have none.
    """
    served = set(np.unique(problem.client_index[mask]).tolist())
    stuck = [client.id for i, client in enumerate(problem.clients) if i not in served]
    if stuck:
        named = ", ".join(stuck[:MAX_NAMED_CLIENTS]) + (" and others" if len(stuck) > MAX_NAMED_CLIENTS else "")
        raise InfeasibleError(
            f"{strategy}: {len(stuck)} of {problem.num_clients} clients have no usable option {what}: {named}; "
            "give them more memory, allow more modes in training.modes, or use the strategy 'optimal'"
        )


def for_progress(problem: PlanningProblem, seconds: FloatArray) -> FloatArray:
    """[K] seconds over a row's own progress where the objective divides by it: a larger batch may be worth its time."""
    if not problem.divides_by_progress:
        return seconds
    return np.asarray(seconds / np.maximum(problem.worth, _LEAST_PROGRESS))


def choose_by_score(problem: PlanningProblem, mask: BoolArray, score: FloatArray, strategy: str) -> IntArray:
    """Let every client take its row of the least score; where that breaks a limit, take the least total score.

    Parameters
    ----------
    problem
        The planning problem.
    mask
        [K] rows to choose from, at least one of every client.
    score
        [K] what each row costs in the strategy's own terms; finite.
    strategy
        Name, for the message.

    Returns
    -------
    IntArray
        [N] rows.

    Raises
    ------
    InfeasibleError
        If no choice keeps the limits.
    """
    rows = np.flatnonzero(mask)
    order = np.lexsort((score[rows], problem.client_index[rows]))
    chosen = rows[order][np.unique(problem.client_index[rows][order], return_index=True)[1]]
    if problem.keeps_limits(chosen):
        return np.asarray(chosen, dtype=np.int64)
    restricted = problem.restricted(mask)
    kinds = group_alike(restricted)
    values = -score[rows][kinds.rows]
    found = best_by_labels(kinds, values, _LABELS)
    counts = found.counts
    if counts is None and not found.complete:
        counts = best_within_limits(kinds, values, np.ones(len(values), dtype=bool))
    if counts is None:
        names = " and ".join(limit.name for limit in problem.limits)
        raise InfeasibleError(
            f"{strategy}: none of its choices keeps {names}; relax that, or use the strategy 'optimal'"
        )
    return np.asarray(rows[kinds.rows_of(counts)], dtype=np.int64)


def choose_by_sum(problem: PlanningProblem, mask: BoolArray, seconds: FloatArray, strategy: str) -> IntArray:
    """Choose rows ([N]) that minimise the objective where the round lasts the sum of the clients' seconds.

    The sum over the progress is a ratio of sums, minimised by Dinkelbach's method: the choice for a ratio gives the
    next ratio, which falls until it repeats.

    Parameters
    ----------
    problem, mask
        The planning problem, and [K] the rows to choose from.
    seconds
        [K] seconds that a row adds to the round.
    strategy
        Name, for messages.

    Raises
    ------
    InfeasibleError
        If no choice keeps the limits.
    """
    if problem.objective == ENERGY:
        return choose_by_score(problem, mask, problem.energy_j, strategy)
    rows = choose_by_score(problem, mask, seconds, strategy)
    for _ in range(_MAX_RATIO_STEPS if problem.divides_by_progress else 0):
        ratio = problem.objective_of(rows, float(seconds[rows].sum()))
        if not np.isfinite(ratio):
            ratio = float(seconds.max()) * problem.num_clients / max(float(problem.gain.max()), np.finfo(float).tiny)
        better = choose_by_score(problem, mask, seconds - ratio * problem.gain, strategy)
        if problem.objective_of(better, float(seconds[better].sum())) >= ratio * (1 - 1e-12):
            break
        rows = better
    return rows
