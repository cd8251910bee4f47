"""Plans that may suit recorded links: of every strategy, for stretched links, and with who is late made more urgent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hybridsplit.orchestrator.recorded.rounds import FloatArray, Played, statistic_of
from hybridsplit.orchestrator.recorded.stretched import stretched_table, stretches, with_urgency
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Chain, Schedule
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.objective import Statistic
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.search.joint import SearchResult
from hybridsplit.solver.strategies import STRATEGIES
from hybridsplit.solver.strategies.given import Given
from hybridsplit.solver.strategies.optimal import Optimal

_LEFT_OUT = ("optimal", "random")
"""The first is the plan for constant links that others are compared with, the second is as good as its luck."""
_WORSE = 1.5
"""How much more of a stretch is planned for a client that is late in every round."""


_PLANNED_FOR: tuple[Statistic, ...] = ("p50", "mean", "p95")


class _Sought(Optimal):
    """The best plan of any kind, of which nothing is explained: its options and schedule are all that is taken."""

    claims_optimality = False


@dataclass(frozen=True)
class Candidate:
    """A plan that may be chosen.

    Parameters
    ----------
    origin
        How it came about, in words.
    plan
        The plan; its figures are those of constant links.
    """

    origin: str
    plan: Plan


class Candidates:
    """Where candidates come from.

    Parameters
    ----------
    scenario, table
        The scenario and its option table.
    traces
        Recordings by client.
    bounds
        Bounds of the problem, shared by all plans.
    nominal
        The best plan for constant links.
    is_over
        Whether the time is up.
    """

    def __init__(
        self,
        scenario: Scenario,
        table: OptionTable,
        traces: Mapping[str, BandwidthTrace],
        bounds: SearchResult,
        nominal: Plan,
        is_over: Callable[[], bool],
    ) -> None:
        self._scenario, self._table, self._bounds, self._is_over = scenario, table, bounds, is_over
        self._stretch = stretches(scenario, nominal, traces)
        self._worse = dict.fromkeys(self._stretch, 1.0)

    def of_strategies(self) -> Iterator[Candidate]:
        """Yield the plans of all strategies that can plan this scenario."""
        for name in STRATEGIES:
            if name in _LEFT_OUT or self._is_over():
                continue
            try:
                plan = make_plan(self._scenario, self._table, name, bounds=self._bounds)
            except (InfeasibleError, SolverFailure):
                continue
            yield Candidate(f"the plan of {name}", plan)

    def for_stretched_links(self) -> Iterator[Candidate]:
        """Yield plans for links on which transfers take their median, mean or 95th percentile."""
        for statistic in _PLANNED_FOR:
            if self._is_over():
                return
            label = f"planned for transfers of their {statistic}"
            yield from self._planned_for({name: _pair(own, statistic) for name, own in self._stretch.items()}, label)

    def after(self, best: Candidate, played: Played) -> Iterator[Candidate]:
        """Yield plans in which the clients that were late get more: of a lighter option, or of urgency.

        Parameters
        ----------
        best, played
            The best so far, and its rounds.
        """
        names, counts = np.unique(played.slowest, return_counts=True)
        late = dict(zip(names.tolist(), (counts / len(played.slowest)).tolist(), strict=True))
        for name, share in late.items():
            if name in self._worse:
                self._worse[name] *= 1.0 + (_WORSE - 1.0) * share
        factors = {name: self._pair_of(name, own) for name, own in self._stretch.items()}
        yield from self._planned_for(factors, "late clients planned on slower links")
        more_s = {name: share * best.plan.round_latency_s / 4 for name, share in late.items()}
        urgent = with_urgency(best.plan, more_s)
        if urgent is not None:
            yield from self._given(best.plan, urgent, "late clients served earlier")

    def _pair_of(self, name: str, own: FloatArray) -> tuple[float, float]:
        up, down = _pair(own, "p50")
        return up * self._worse[name], down * self._worse[name]

    def _planned_for(self, factors: Mapping[str, tuple[float, float]], label: str) -> Iterator[Candidate]:
        """Plan on a table of enlarged bytes, and take options and schedule over to the true one."""
        try:
            found = make_plan(self._scenario, stretched_table(self._table, factors), _Sought())
        except (InfeasibleError, SolverFailure):
            return
        if not isinstance(found.schedule, Chain):
            yield from self._given(found, found.schedule, label)

    def _given(self, plan: Plan, schedule: Schedule, label: str) -> Iterator[Candidate]:
        strategy = Given(schedule, f"chosen for recorded links: {label}")
        try:
            made = make_plan(self._scenario, self._table, strategy, bounds=self._bounds, warm_start=plan)
        except (InfeasibleError, SolverFailure):
            return
        yield Candidate(label, made)


def _pair(own: FloatArray, statistic: Statistic) -> tuple[float, float]:
    up, down = (statistic_of(row, statistic) for row in own)
    return up, down
