"""Alternating between options and shares, the method of most papers, as a building block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.shares.solution import replace_batch
from hybridsplit.solver.shares.waterfill import fill
from hybridsplit.solver.strategies.equal import best_at_shares

_MAX_ROUNDS = 50
_STUCK_SHARE = 1e-9
"""A client whose share fell to nothing keeps this much, as a solver of finite precision would leave it."""


@dataclass(frozen=True)
class Alternated:
    """Where an alternation stopped.

    Parameters
    ----------
    rows
        [N] rows.
    shares
        [N, 3] shares.
    num_rounds
        Rounds until nothing changed.
    """

    rows: IntArray
    shares: FloatArray
    num_rounds: int


def alternate(
    problem: PlanningProblem, mask: BoolArray, share_step: Callable[[IntArray], FloatArray], strategy: str
) -> Alternated:
    """Choose options at fixed shares and shares at fixed options in turn until neither improves.

    Parameters
    ----------
    problem
        The planning problem.
    mask
        [K] rows to choose from.
    share_step
        Maps rows ([N]) to shares ([N, 3]) with the smallest round latency.
    strategy
        Name, for messages.

    Raises
    ------
    InfeasibleError
        If no choice keeps the limits.

    Notes
    -----
    The first shares are equal ones. At fixed shares every option has one latency, and the best options for the
    objective are found exactly; so are the shares at fixed options.
    """
    shares = np.tile(problem.equal_shares, (problem.num_clients, 1))
    best: Alternated | None = None
    best_value = np.inf
    for step in range(1, _MAX_ROUNDS + 1):
        own_s = problem.work.latency_s(np.maximum(shares, _STUCK_SHARE)[problem.client_index])
        choice = best_at_shares(problem, mask, own_s)
        if choice is None:
            names = " and ".join(limit.name for limit in problem.limits)
            raise InfeasibleError(
                f"{strategy}: none of its choices keeps {names}; relax that, or use the strategy 'optimal'"
            )
        shares = share_step(choice.rows)
        value = problem.value_of(choice.rows, float(problem.work.take(choice.rows).latency_s(shares).max()))
        if best is not None and value >= best_value * (1 - 1e-9):
            break
        best, best_value = Alternated(choice.rows, shares, step), value
    assert best is not None
    return best


def all_shares(problem: PlanningProblem, rows: IntArray) -> FloatArray:
    """[N, 3] best shares of uplink, downlink and server together."""
    return np.asarray(fill(replace_batch(problem.work.take(rows)), np.ones((1, len(rows)))).shares[0])


def bandwidth_only(problem: PlanningProblem, rows: IntArray) -> FloatArray:
    """[N, 3] best shares of uplink and downlink where every client holds ``1/N`` of the server."""
    work, number = problem.work.take(rows), problem.num_clients
    on_device = Work(work.compute_s + number * work.server_s, work.uplink, work.downlink_s, np.zeros(number))
    shares = fill(replace_batch(on_device), np.ones((1, number))).shares[0].copy()
    shares[:, 2] = 1.0 / number
    return np.asarray(shares)
