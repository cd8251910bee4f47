"""Make the plan that a scenario asks for: for constant links, or for its recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.scenarios.errors import UsageError
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.strategies import find_strategy

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.plan import Plan
    from hybridsplit.scenarios.schema import Scenario
    from hybridsplit.solver.strategies import Strategy

FOR_RECORDED_LINKS = "optimal"
"""The strategy that ``objective.links`` is about; each of the others has one plan, whatever the links do."""


def plan_as_asked(
    scenario: Scenario,
    table: OptionTable,
    strategy: str | Strategy,
    *,
    recordings: Path | None = None,
    fixed: Mapping[str, tuple[int, str]] | None = None,
    warm_start: Plan | None = None,
    time_limit_s: float | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Plan:
    """Make a plan, chosen over recorded links where the scenario's ``objective.links`` says so.

    Parameters
    ----------
    scenario, table, strategy, fixed, warm_start, time_limit_s
        As of :func:`hybridsplit.solver.planner.make_plan`.
    recordings
        Folder of recordings to be dealt to the clients; those that the scenario names when None.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].

    Raises
    ------
    UsageError
        If there is a folder and nothing to use it for, or options are fixed that recordings are to decide.
    ScenarioError
        If recordings are asked for and there are none, or one cannot be read.
    InfeasibleError, SolverFailure
        As the planner raises them.
    """
    by_recordings = scenario.objective.links == "recorded" and find_strategy(strategy).name == FOR_RECORDED_LINKS
    chooses_deadline = scenario.objective.late == "skip" and scenario.objective.deadline_s is None
    if recordings is not None and not (by_recordings or chooses_deadline):
        raise UsageError(
            f"--traces: recordings decide nothing here; needs the strategy {FOR_RECORDED_LINKS} and "
            "objective.links: recorded (--set objective.links=recorded), or objective.late: skip"
        )
    if not by_recordings:

        def made(options: OptionTable) -> Plan:
            return make_plan(scenario, options, strategy, fixed=fixed, warm_start=warm_start, time_limit_s=time_limit_s)

        plan = made(table)
        if any(client.levels for client in plan.clients):
            from hybridsplit.orchestrator.recorded.for_memory import plan_for_memory

            plan = plan_for_memory(scenario, table, plan, made)
        return _with_deadline(plan, scenario, recordings)
    if fixed:
        raise UsageError("fixed: options are chosen over the recordings; set objective.links to nominal to fix some")
    from hybridsplit.orchestrator.recorded.choice import plan_for_recordings

    plan = plan_for_recordings(
        scenario, table, _recordings(scenario, recordings), warm_start=warm_start, time_limit_s=time_limit_s,
        on_progress=on_progress,
    )  # fmt: skip
    return _with_deadline(plan, scenario, recordings)


def _with_deadline(plan: Plan, scenario: Scenario, recordings: Path | None) -> Plan:
    """Choose the deadline over recordings, where rounds have one that is not stated and there are recordings."""
    objective = scenario.objective
    is_open = objective.late == "skip" and objective.deadline_s is None
    if not is_open or not (recordings or any(group.link.trace for group in scenario.clients)):
        return plan
    from hybridsplit.orchestrator.recorded.deadline import with_best_deadline

    return with_best_deadline(plan, scenario, _recordings(scenario, recordings))


def _recordings(scenario: Scenario, folder: Path | None) -> Mapping[str, BandwidthTrace]:
    from hybridsplit.runtime.replay.trace_files import assign_traces, scenario_traces

    if folder is None:
        return scenario_traces(scenario)
    return assign_traces(folder, [client.id for client in scenario.expanded_clients()], scenario.seed)
