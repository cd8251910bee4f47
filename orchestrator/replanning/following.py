"""Rounds of a plan that changes, replayed with the scenario's policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.replanning.policies import Never, replanner_of
from hybridsplit.runtime.replay import Replay
from hybridsplit.runtime.replay.replanned import Surroundings, replay_changing
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace


class Following:
    """A plan and what comes after it.

    Parameters
    ----------
    plan, scenario, table
        The plan of the first round, its scenario, whose policy changes plans, and its option table.
    traces, in_order, absolute
        As of :func:`hybridsplit.orchestrator.replaying.replay_plan`.
    """

    def __init__(
        self,
        plan: Plan,
        scenario: Scenario,
        table: OptionTable,
        traces: Mapping[str, BandwidthTrace] | None = None,
        *,
        in_order: bool = False,
        absolute: bool = False,
    ) -> None:
        self._plan, self._scenario, self._table = plan, scenario, table
        self._around = Surroundings.of(scenario, traces, from_the_start=in_order, uses_recorded_rates=absolute)
        self._known: tuple[Attendance, Replay] | None = None

    def replay(self, attendance: Attendance) -> Replay:
        """Replay rounds whose plan changes; the answer to the last question is kept."""
        if self._known is None or self._known[0] != attendance:
            replanner = replanner_of(self._scenario, self._table, self._plan, self._around, attendance)
            played = replay_changing(self._plan, self._scenario, replanner, self._around, attendance)
            self._known = attendance, played
        return self._known[1]

    def replay_first_plan(self, attendance: Attendance) -> Replay:
        """Replay the same rounds under the first plan throughout, over the same links."""
        return replay_changing(self._plan, self._scenario, Never(), self._around, attendance)
