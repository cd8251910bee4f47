"""HSFL: federated or split learning per client, with its batch size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Chain, Simultaneous
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray, all_occur
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy
from hybridsplit.solver.strategies.choice import (
    choose_by_score,
    exact_modes,
    for_progress,
    modes_mask,
    require_everybody,
)

_MAX_ROUNDS = 12
_BANDS = np.linspace(0.05, 0.95, 19)
"""Shares of the band that the split learning chain may hold."""
_THRESHOLDS = 64


@dataclass(frozen=True)
class _Mix:
    """Who trains how: rows ([N]), who is in the chain ([N]), the chain's band, and the objective."""

    rows: IntArray
    chained: BoolArray
    band: float
    value: float


class Hsfl(Strategy):
    """FL or SL per client and batch size by block coordinate descent, in the style of arXiv 2511.19851.

    Stated in the paper: each device does federated learning (in parallel) or split learning (one after another), the
    groups alongside each other; modes, cuts, batch sizes and bandwidth by block coordinate descent on a relaxation,
    then rounding. Our reconstruction: the round is ``max(slowest FL, sum of SL)``; the SL chain holds a part of both
    bands and all of the server, the FL clients share the rest equally; the relaxed mode of a client is how much its
    FL latency exceeds a threshold, rounded at the best threshold, and batch sizes are those of the option table. The
    paper's convergence constants are not public; progress stands in for them.
    """

    name = "hsfl"
    summary = "FL in parallel or SL one after another per client, with batch size, by block coordinate descent"
    sharing = Sharing.CHAIN

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Descend over modes and options at a fixed band, then over the band.

        Raises
        ------
        InfeasibleError
            If a client has no exact option, or no choice keeps the limits.
        """
        exact = modes_mask(problem, exact_modes())
        require_everybody(problem, exact, self.name, "in an exact mode")
        local = exact & (problem.work.server_s == 0) & (problem.cuts == int(problem.all_options["cut"].max()))
        best: _Mix | None = None
        band, num_fl = 0.5, max(1, problem.num_clients // 2)
        for _ in range(_MAX_ROUNDS):
            mix = self._modes(problem, exact & ~local, local, band, num_fl)
            mix = min((_evaluate(problem, mix.rows, mix.chained, b) for b in _BANDS), key=lambda one: one.value)
            if best is not None and mix.value >= best.value * (1 - 1e-9):
                break
            best, band = mix, mix.band
            num_fl = max(1, int(np.count_nonzero(~mix.chained)))
        assert best is not None
        order = tuple(problem.clients[i].id for i in np.flatnonzero(best.chained))
        return Proposal(
            best.rows,
            shares=_shares(best.chained, best.band),
            schedule=Chain(order=order) if order else Simultaneous(),
            reason="federated where its latency is below the threshold of the descent, split otherwise",
        )

    def _modes(self, problem: PlanningProblem, split: BoolArray, local: BoolArray, band: float, num_fl: int) -> _Mix:
        """Best modes and options at a band, the FL clients' share as in the round before."""
        fl_s = problem.work.latency_s((1.0 - band) / num_fl)
        sl_s = problem.work.take(slice(None)).latency_s(
            np.broadcast_to(np.array([band, band, 1.0]), (problem.num_rows, 3))
        )
        best_fl = _least(problem, fl_s, local)
        thresholds = np.unique(best_fl[np.isfinite(best_fl)])
        if len(thresholds) > _THRESHOLDS:
            thresholds = np.quantile(thresholds, np.linspace(0, 1, _THRESHOLDS), method="nearest")
        mixes: list[_Mix] = []
        for threshold in (-np.inf, *thresholds.tolist()):
            federated = best_fl <= threshold
            chained = ~federated
            # A client without a split option stays federated however slow, and the other way round.
            has_split = np.isfinite(_least(problem, sl_s, split))
            chained &= has_split
            mask = np.where(chained[problem.client_index], split, local)
            if not all_occur(problem.client_index[mask], problem.num_clients):
                continue
            score = for_progress(problem, np.where(chained[problem.client_index], sl_s, fl_s))
            if problem.objective == ENERGY:
                score = problem.energy_j
            try:
                rows = choose_by_score(problem, mask, score, self.name)
            except InfeasibleError:
                continue
            mixes.append(_evaluate(problem, rows, chained, band))
        if not mixes:
            raise InfeasibleError(
                f"{self.name}: no division of the clients into federated and split ones keeps the limits; relax them, "
                "or use the strategy 'optimal'"
            )
        return min(mixes, key=lambda one: one.value)


def _least(problem: PlanningProblem, seconds: FloatArray, mask: BoolArray) -> FloatArray:
    """[N] least seconds of every client within a mask; infinite where it has no row there."""
    return np.asarray(np.minimum.reduceat(np.where(mask, seconds, np.inf), problem.starts))


def _shares(chained: BoolArray, band: float) -> FloatArray:
    """[N, 3] shares: the chain holds a part of the bands and the server, the others share the rest of the bands."""
    shares = np.zeros((len(chained), 3))
    number = int(np.count_nonzero(~chained))
    part = band if number else 1.0
    shares[chained] = (part, part, 1.0)
    if number:
        rest = 1.0 - band if chained.any() else 1.0
        shares[~chained] = (rest / number, rest / number, 0.0)
    return shares


def _evaluate(problem: PlanningProblem, rows: IntArray, chained: BoolArray, band: float) -> _Mix:
    latency_s = problem.work.take(rows).latency_s(_shares(chained, band))
    round_s = max(float(latency_s[chained].sum()), float(latency_s[~chained].max(initial=0.0)))
    return _Mix(rows, chained, band, problem.value_of(rows, round_s))
