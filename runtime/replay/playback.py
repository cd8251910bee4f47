"""Play a plan through the simulated network, and check that nothing was lost on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.replay.apart import walk_apart
from hybridsplit.runtime.replay.checks import check_arguments, check_attendance, check_plan, check_timeline
from hybridsplit.runtime.replay.disciplined import check_disciplines, plan_under
from hybridsplit.runtime.replay.planned_work import Circumstances, work_of
from hybridsplit.runtime.replay.played import PlayedRound, Replay
from hybridsplit.runtime.replay.totals import RoundTotals, Timeline
from hybridsplit.runtime.replay.turn_walk import walk_in_turn
from hybridsplit.runtime.replay.urgent import walk_by_priority
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.disciplines import Disciplines
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, SERVER_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import SIMULTANEOUS, Dispatch, Simultaneous
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.memory_trace import MemoryTrace
    from hybridsplit.runtime.replay.traces import BandwidthTrace
    from hybridsplit.runtime.replay.windows import Recorded


def scenario_of(plan: Plan) -> Scenario:
    """Rebuild the scenario that a plan was made for.

    Parameters
    ----------
    plan
        Its ``scenario`` holds the resolved document.

    Raises
    ------
    ScenarioError
        If the document is not a valid scenario any more.
    """
    return validate_scenario(plan.scenario, f"the scenario inside the {plan.strategy} plan")


def replay(
    plan: Plan,
    scenario: Scenario,
    *,
    num_rounds: int,
    attendance: Attendance | None = None,
    traces: Mapping[str, BandwidthTrace] | None = None,
    compute_scale: Mapping[str, float] | None = None,
    start_offsets_s: Mapping[str, float] | None = None,
    samples_windows: bool = False,
    uses_recorded_rates: bool = False,
    windows_s: Mapping[str, Sequence[float]] | None = None,
    memory: Mapping[str, MemoryTrace] | None = None,
    disciplines: Disciplines | None = None,
) -> Replay:
    """Play a plan through the simulated network.

    Parameters
    ----------
    plan
        Options and shares.
    scenario
        The plan's scenario: links, radio, steps a round and whether they end together, as they do with a shared server
        model (:func:`scenario_of` rebuilds it from the plan).
    num_rounds
        Rounds to replay.
    attendance
        Who takes part in these rounds; drawn from the plan's clients, none of whom fails, when None.
    traces
        Recorded bandwidth by client; it modulates the rate that the plan's share gives, on the uplink and the downlink
        alike. Clients not named have constant links. When None, the traces that the scenario's links name are used.
    compute_scale
        By client, how much longer than planned its device computes: a straggler has more than 1. 1 when not named.
    start_offsets_s
        By client, how long after the first round's start it joins. 0 when not named.
    samples_windows
        Whether every round begins at a point of each recording that is drawn from the scenario's seed, so that rounds
        are samples of it; recordings run on from round to round otherwise.
    uses_recorded_rates
        Whether a client with a recording has the rates of the recording itself, whatever its share.
    windows_s
        By client with a recording, the point of it that every round begins at, instead of drawn ones.
    memory
        Memory over time by client, of those that the plan gives a ladder; what the scenario names when None.
    disciplines
        By what server and radio serve instead of by the plan; all by the plan when None.

    Returns
    -------
    Replay
        Ledger and rounds.

    Raises
    ------
    UsageError
        If there is no round to replay, the attendance or a window is of another number of rounds, or an argument names
        an unknown client or holds a value out of range; or if the plan cannot be replayed by these disciplines.
    ContractError
        If the plan has no clients, names one the scenario lacks, or shares out more than there is.
    ScenarioError
        If a trace that the scenario names cannot be read.
    RunError
        If a client can never finish, or an invariant of the simulation is broken.
    """
    if num_rounds < 1:
        raise UsageError(f"found {num_rounds} rounds to replay; needs at least 1")
    check_plan(plan)
    used_traces = traces_of(scenario) if traces is None else traces
    scales, offsets_s = compute_scale or {}, start_offsets_s or {}
    known = {client.id for client in plan.clients}
    # The scenario's own traces may name clients that a plan has dropped; what a caller passes may not.
    check_arguments(known, {} if traces is None else traces, scales, offsets_s)
    begins_s: Mapping[str, Sequence[float]] = windows_s or {}
    if windows_s is None and samples_windows and used_traces:
        begins_s = _windows_of(used_traces, scenario, num_rounds, "trace-windows")
    held = memory_of(plan, scenario, memory)
    held_begins_s = _windows_of(held, scenario, num_rounds, "memory-windows") if samples_windows and held else {}
    served = None if disciplines is None or disciplines.are_planned else disciplines
    if served is not None:
        check_disciplines(plan, scenario, served, used_traces, uses_recorded_rates=uses_recorded_rates)
        plan = plan_under(plan, served)
    work = work_of(
        plan,
        scenario,
        Circumstances(used_traces, begins_s, held, held_begins_s, scales, offsets_s, uses_recorded_rates),
    )
    present = attendance or draw_attendance(scenario, [client.id for client in plan.clients], num_rounds)
    check_attendance(known, present, num_rounds)
    timeline = timeline_of(plan, work, present, synchronise=scenario.training.steps_synchronise, disciplines=served)
    check_timeline(plan, timeline, present)
    played = tuple(rounds_of(plan, timeline))
    heard: list[Recorded] = [trace for client, trace in used_traces.items() if client in known and begins_s]
    heard += held.values() if held_begins_s else ()
    distinct = _distinct_windows(heard, played) if heard else None
    return Replay(tuple(client.id for client in plan.clients), timeline, played, distinct)


def timeline_of(
    plan: Plan,
    work: Sequence[ClientWork],
    attendance: Attendance,
    *,
    synchronise: bool,
    disciplines: Disciplines | None = None,
) -> Timeline:
    """Walk the rounds where that gives what the simulation would give, and simulate them elsewhere."""
    schedule, moment_s = plan.schedule, SIMULTANEOUS * plan.round_latency_s
    if disciplines is not None:
        synchronise = synchronise and plan.deadline_s is None
        return _simulated(plan, work, attendance, moment_s, synchronise=synchronise, disciplines=disciplines)
    if any(item.ladder is not None for item in work):
        return _simulated(plan, work, attendance, moment_s, synchronise=synchronise)
    if plan.deadline_s is not None:
        return _simulated(plan, work, attendance, moment_s, synchronise=False)
    if isinstance(schedule, Simultaneous):
        return walk_apart(work, attendance, synchronise=synchronise)
    if any(item.overlaps for item in work):
        return _simulated(plan, work, attendance, moment_s, synchronise=synchronise)
    if isinstance(schedule, Dispatch):
        return walk_by_priority(work, attendance, schedule, synchronise=synchronise, moment_s=moment_s)
    return walk_in_turn(work, attendance, schedule, synchronise=synchronise)


def _simulated(
    plan: Plan,
    work: Sequence[ClientWork],
    attendance: Attendance,
    moment_s: float,
    *,
    synchronise: bool,
    disciplines: Disciplines | None = None,
) -> Timeline:
    from hybridsplit.runtime.replay.processes import simulate  # late: SimPy takes a moment

    return simulate(
        work, attendance.num_rounds, plan.schedule, synchronise=synchronise, attendance=attendance, moment_s=moment_s,
        deadline_s=plan.deadline_s, disciplines=disciplines,
    )  # fmt: skip


def traces_of(scenario: Scenario) -> Mapping[str, BandwidthTrace]:
    """Return the traces that a scenario's links name."""
    if not any(group.link.trace for group in scenario.clients):
        return {}
    from hybridsplit.runtime.replay.trace_files import scenario_traces  # late: constant links need no NumPy

    return scenario_traces(scenario)


def memory_of(plan: Plan, scenario: Scenario, memory: Mapping[str, MemoryTrace] | None) -> Mapping[str, MemoryTrace]:
    """Return the memory over time of the clients with a ladder; what is given goes before what the scenario names."""
    on_ladders = [client.id for client in plan.clients if client.levels]
    if not on_ladders:
        return {}
    if memory is None:
        from hybridsplit.runtime.replay.memory_files import scenario_memory  # late: few plans have ladders

        memory = scenario_memory(scenario)
    return {client: memory[client] for client in on_ladders if client in memory}


def _windows_of(
    recorded: Mapping[str, Recorded], scenario: Scenario, num_rounds: int, stream: str
) -> dict[str, tuple[float, ...]]:
    from hybridsplit.runtime.replay.windows import draw_windows  # late: constant links need no NumPy

    return draw_windows(recorded, scenario.seed, num_rounds, stream)


def _distinct_windows(recorded: Sequence[Recorded], played: Sequence[PlayedRound]) -> int:
    from hybridsplit.runtime.replay.windows import distinct_windows

    return distinct_windows(recorded, played[-1].simulated_s / len(played))


def rounds_of(plan: Plan, timeline: Timeline) -> Iterator[PlayedRound]:
    """Yield the rounds of a timeline of a plan, in order."""
    start_s = 0.0
    shares = {name: [getattr(client, name) for client in plan.clients] for name, _ in _SERVED}
    for index, end_s in enumerate(timeline.round_ends_s):
        # Clients that do the same share what they have spent, which is looked at once.
        column = [rounds[index] for rounds in timeline.totals]
        distinct = {id(spent): spent for spent in column if spent}
        wait_s = {key: spent[Phase.BARRIER].waiting_s for key, spent in distinct.items()}
        waits_s = [wait_s[id(spent)] for spent in column if spent]
        latency_s, least_s = end_s - start_s, min(wait_s.values())
        uplink, downlink, server = (
            _utilisation(shares[name], column, distinct, latency_s, phases) for name, phases in _SERVED
        )
        yield PlayedRound(
            round=index,
            latency_s=latency_s,
            simulated_s=end_s,
            uplink_utilisation=uplink,
            downlink_utilisation=downlink,
            server_utilisation=server,
            slowest_client=next(
                client.id
                for client, spent in zip(plan.clients, column, strict=True)
                if spent and wait_s[id(spent)] == least_s
            ),
            barrier_wait_s=math.fsum(waits_s) / len(waits_s),
        )
        start_s = end_s


_SERVED = (
    ("uplink_share", UPLINK_PHASES),
    ("downlink_share", DOWNLINK_PHASES),
    ("server_share", SERVER_PHASES),
)
"""Each resource's share, and the phases in which it serves."""


def _utilisation(
    shares: Sequence[float],
    column: Sequence[RoundTotals],
    distinct: Mapping[int, RoundTotals],
    latency_s: float,
    phases: tuple[Phase, ...],
) -> float:
    busy_s = {key: math.fsum([spent[phase].seconds for phase in phases]) for key, spent in distinct.items()}
    served_s = math.fsum([share * busy_s[id(spent)] for share, spent in zip(shares, column, strict=True) if spent])
    return served_s / latency_s if latency_s > 0 else 0.0
