"""Replay of rounds whose plan may change in between: one round after another, each under the plan of its time.

Recordings run on from round to round, from a point of each that is drawn once from the scenario's seed: what a round
has shown says something of the next one only where time goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay.changing import (
    Boundary,
    MovedBytes,
    NewPlan,
    Observed,
    PlanChange,
    PlanSequence,
    Replanner,
    RoundObserved,
)
from hybridsplit.runtime.replay.checks import check_plan, check_timeline
from hybridsplit.runtime.replay.moving import move
from hybridsplit.runtime.replay.planned_work import Circumstances, work_of
from hybridsplit.runtime.replay.playback import memory_of, rounds_of, timeline_of, traces_of
from hybridsplit.runtime.replay.played import PlayedRound, Replay
from hybridsplit.runtime.replay.totals import RoundTotals, Timeline, is_late
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.ladder import StepMemory
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.schedule import Simultaneous
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.memory_trace import MemoryTrace
    from hybridsplit.runtime.replay.traces import BandwidthTrace
    from hybridsplit.runtime.replay.windows import Recorded
    from hybridsplit.runtime.replay.work import ClientWork


@dataclass(frozen=True)
class Surroundings:
    """Recorded links and memory, and the point of each at which the first round begins.

    Parameters
    ----------
    traces, memory
        Recordings by client.
    trace_starts_s, memory_starts_s
        The points, by client; 0 for those not named.
    uses_recorded_rates
        Whether recorded rates are the links' own.
    """

    traces: Mapping[str, BandwidthTrace]
    memory: Mapping[str, MemoryTrace]
    trace_starts_s: Mapping[str, float]
    memory_starts_s: Mapping[str, float]
    uses_recorded_rates: bool = False

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        traces: Mapping[str, BandwidthTrace] | None = None,
        *,
        from_the_start: bool = False,
        uses_recorded_rates: bool = False,
    ) -> Surroundings:
        """Return what rounds meet: recordings begin at points that are drawn from the scenario's seed.

        Parameters
        ----------
        scenario
            The scenario.
        traces
            Recorded links; those that the scenario names when None.
        from_the_start
            Whether recordings begin at their start.
        uses_recorded_rates
            Whether recorded rates are the links' own.

        Raises
        ------
        ScenarioError
            If a recording cannot be read.
        """
        heard = traces_of(scenario) if traces is None else traces
        # Another plan may put clients on ladders that are on none now, so all memory is known.
        held: Mapping[str, MemoryTrace] = {}
        if any(client.memory is not None for client in scenario.expanded_clients()):
            from hybridsplit.runtime.replay.memory_files import scenario_memory  # late: few scenarios have memory

            held = scenario_memory(scenario)
        return cls(
            heard,
            held,
            {} if from_the_start else _starts(heard, scenario.seed, "trace-windows"),
            {} if from_the_start else _starts(held, scenario.seed, "memory-windows"),
            uses_recorded_rates,
        )

    def at(self, now_s: float, plan: Plan, scenario: Scenario) -> Circumstances:
        """Return what clients meet in a round that begins at a time of the clock."""
        ids = {client.id for client in plan.clients}
        held = memory_of(plan, scenario, self.memory)
        return Circumstances(
            {client: trace for client, trace in self.traces.items() if client in ids},
            {client: (self.trace_starts_s.get(client, 0.0) + now_s,) for client in self.traces},
            held,
            {client: (self.memory_starts_s.get(client, 0.0) + now_s,) for client in held},
            uses_recorded_rates=self.uses_recorded_rates,
        )


def _starts(recorded: Mapping[str, Recorded], seed: int, stream: str) -> dict[str, float]:
    if not recorded:
        return {}
    from hybridsplit.runtime.replay.windows import draw_windows  # late: constant links need no NumPy

    return {client: points[0] for client, points in draw_windows(recorded, seed, 1, stream).items()}


@dataclass(frozen=True)
class OneRound:
    """One round under one plan.

    Parameters
    ----------
    timeline
        What each client spent.
    played
        The round.
    """

    timeline: Timeline
    played: PlayedRound


def play_round(
    plan: Plan, scenario: Scenario, around: Surroundings, now_s: float, present: Mapping[str, int]
) -> OneRound:
    """Play one round of a plan.

    Parameters
    ----------
    plan, scenario
        The plan and its scenario.
    around
        What its clients meet.
    now_s
        Where on the clock the round begins.
    present
        Who takes part, with the bytes each downloads beyond the plan's.

    Raises
    ------
    RunError
        If a client can never finish.
    """
    attendance = Attendance((present,))
    work = work_of(plan, scenario, around.at(now_s, plan, scenario))
    timeline = timeline_of(plan, work, attendance, synchronise=scenario.training.steps_synchronise)
    check_timeline(plan, timeline, attendance)
    return OneRound(timeline, next(iter(rounds_of(plan, timeline))))


def replay_changing(
    plan: Plan,
    scenario: Scenario,
    replanner: Replanner,
    around: Surroundings,
    attendance: Attendance,
) -> Replay:
    """Play rounds, asking after each whether to go on with another plan.

    Parameters
    ----------
    plan, scenario
        The plan of the first round, and its scenario.
    replanner
        Is asked after every round but the last.
    around
        What clients meet.
    attendance
        Who takes part in which round.

    Returns
    -------
    Replay
        With the plans that its rounds went by.

    Raises
    ------
    ContractError
        If a plan cannot be played, or has other clients than the one before.
    RunError
        If a client can never finish.
    """
    check_plan(plan)
    ids = [client.id for client in plan.clients]
    plans, of_round, changes = [plan], [0], list[PlanChange]()
    totals: list[list[RoundTotals]] = [[] for _ in ids]
    memory: list[list[tuple[StepMemory, ...]]] = [[] for _ in ids]
    played: list[PlayedRound] = []
    observed: list[RoundObserved] = []
    placed: dict[str, ClientPlan] = {}
    now_s = 0.0
    for number, present in enumerate(attendance.rounds):
        new = replanner.next_plan(Boundary(number, now_s, plans[-1], tuple(observed))) if number else None
        if new is not None:
            if [client.id for client in new.plan.clients] != ids:
                raise ContractError(f"the plan for round {number} has other clients than the one before it")
            check_plan(new.plan)
            plans.append(new.plan)
        wanted = _wanted(plans[-1], placed, replanner, present) if len(plans) > 1 else {}
        moved, moving_s = _moved(plans[-1], scenario, around, now_s, wanted)
        if new is not None:
            changes.append(_change(plans[-2], new, number, wanted, moving_s))
        if number:
            of_round.append(len(plans) - 1)
        one = play_round(plans[-1], scenario, around, now_s + moving_s, present)
        observed.append(observe(plans[-1], scenario, around, one, now_s + moving_s))
        latency_s = moving_s + one.played.latency_s
        now_s += latency_s
        played.append(_shifted(one.played, number, latency_s, now_s))
        for place, (client, (spent,)) in enumerate(zip(ids, one.timeline.totals, strict=True)):
            totals[place].append(spent if not spent or not moving_s else {**spent, **moved[client]})
            memory[place].append(one.timeline.memory[place][0] if one.timeline.memory else ())
            if spent and not is_late(spent):
                placed[client] = plans[-1].clients[place]
    timeline = Timeline(
        tuple(map(tuple, totals)),
        tuple(one.simulated_s for one in played),
        tuple(map(tuple, memory)) if any(any(rounds) for rounds in memory) else (),
    )
    followed = PlanSequence(tuple(plans), tuple(of_round), tuple(changes))
    return Replay(tuple(ids), timeline, tuple(played), None, followed)


def _wanted(
    plan: Plan, placed: Mapping[str, ClientPlan], replanner: Replanner, present: Mapping[str, int]
) -> dict[str, MovedBytes]:
    """Return what those move who take part and were placed otherwise when they last trained."""
    found: dict[str, MovedBytes] = {}
    for client in plan.clients:
        before = placed.get(client.id)
        if before is not None and client.id in present and before.key != client.key:
            moved = replanner.moved_bytes(before, client)
            if moved != MovedBytes():
                found[client.id] = moved
    return found


def _moved(
    plan: Plan, scenario: Scenario, around: Surroundings, now_s: float, wanted: Mapping[str, MovedBytes]
) -> tuple[Mapping[str, RoundTotals], float]:
    """Return what every client spends on moving, and how long that takes."""
    if not wanted:
        return {}, 0.0
    return move(plan, work_of(plan, scenario, around.at(now_s, plan, scenario)), wanted)


def _change(before: Plan, new: NewPlan, number: int, wanted: Mapping[str, MovedBytes], moving_s: float) -> PlanChange:
    both = zip(before.clients, new.plan.clients, strict=True)
    changed = tuple(after.id for earlier, after in both if earlier.key != after.key)
    moved_bytes = sum(size.up + size.down for size in wanted.values())
    return PlanChange(number, new.reason, new.expected_saving, changed, moved_bytes, moving_s)


def _shifted(one: PlayedRound, number: int, latency_s: float, now_s: float) -> PlayedRound:
    """Return a round as part of all: what was moved before it is part of its latency."""
    share = one.latency_s / latency_s if latency_s > 0 else 1.0
    used = {
        name: getattr(one, name) * share
        for name in ("uplink_utilisation", "downlink_utilisation", "server_utilisation")
    }
    return replace(one, round=number, latency_s=latency_s, simulated_s=now_s, **used)


def observe(plan: Plan, scenario: Scenario, around: Surroundings, one: OneRound, now_s: float) -> RoundObserved:
    """Return what a round has shown.

    Parameters
    ----------
    plan, scenario, around, now_s
        As of :func:`play_round`.
    one
        What that returned.
    """
    work = work_of(plan, scenario, around.at(now_s, plan, scenario))
    return RoundObserved(one.played.latency_s, dict(_clients_observed(plan, work, one)))


def _clients_observed(plan: Plan, work: Sequence[ClientWork], one: OneRound) -> Iterator[tuple[str, Observed]]:
    counts_waits = isinstance(plan.schedule, Simultaneous)
    for place, item in enumerate(work):
        (spent,) = one.timeline.totals[place]
        if not spent:
            continue
        carried: list[tuple[int, float, float]] = []
        for phases, rate_bps in ((UPLINK_PHASES, item.uplink_bps), (DOWNLINK_PHASES, item.downlink_bps)):
            size = sum(spent[phase].bytes for phase in phases)
            took_s = math.fsum(
                spent[phase].seconds + (spent[phase].waiting_s if counts_waits else 0.0) for phase in phases
            )
            size_bits = int(bits(size))
            carried.append((size_bits, took_s, size_bits / rate_bps if rate_bps > 0 else 0.0))
        (up_bits, up_s, planned_up_s), (down_bits, down_s, planned_down_s) = carried
        steps = one.timeline.memory[place][0] if one.timeline.memory else ()
        yield item.client_id, Observed(
            up_bits, down_bits, up_s, down_s, planned_up_s, planned_down_s,
            one.played.latency_s - spent[Phase.BARRIER].waiting_s,
            math.fsum(min(step.before_bytes, step.after_bytes) for step in steps) / len(steps) if steps else None,
        )  # fmt: skip
