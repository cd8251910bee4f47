"""The simulated clients: one SimPy process each, from the download of the client part to the barrier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import simpy

from hybridsplit.runtime.replay.admission import RoundTurns
from hybridsplit.runtime.replay.disciplined import Served, divided
from hybridsplit.runtime.replay.dispatch import Dispatcher
from hybridsplit.runtime.replay.overlapped import SimulatedRound
from hybridsplit.runtime.replay.passes import RoundOfPasses
from hybridsplit.runtime.replay.rounds import ClientRound, Events, Priority
from hybridsplit.runtime.replay.sequences import turn_sequences
from hybridsplit.runtime.replay.totals import PhaseTotals, RoundTotals, Timeline, no_totals
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.disciplines import Disciplines
from hybridsplit.scenarios.contracts.jobs import SHARED, Job, Resource
from hybridsplit.scenarios.contracts.ladder import StepMemory
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Chain, Dispatch, Schedule, Simultaneous, Turns
from hybridsplit.scenarios.errors import RunError

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.memory_walk import RoundMemory

_SAME = 1e-9
"""Who is done within this fraction of the deadline after it is in time: less is a matter of rounding."""


class Barrier:
    """Holds every client until the last one has arrived, which ends the step or the round."""

    def __init__(self, environment: simpy.Environment, num_clients: int) -> None:
        self._environment = environment
        self._num_clients = num_clients
        self._arrived = 0
        self._all_here = environment.event()
        self.ends_s: list[float] = []

    def arrive(self) -> simpy.Event:
        """Say that one more client is done, and return what it has to wait for."""
        all_here = self._all_here
        self._arrived += 1
        if self._arrived == self._num_clients:
            self.ends_s.append(self._environment.now)
            self._arrived, self._all_here = 0, self._environment.event()
            all_here.succeed()
        return all_here


def simulate(
    work: Sequence[ClientWork],
    num_rounds: int,
    schedule: Schedule | None = None,
    *,
    synchronise: bool = False,
    attendance: Attendance | None = None,
    moment_s: float = 0.0,
    deadline_s: float | None = None,
    disciplines: Disciplines | None = None,
) -> Timeline:
    """Run all clients through all rounds.

    Parameters
    ----------
    work
        One item a client; its order breaks ties, so two simulations of the same work agree.
    num_rounds
        Rounds to simulate.
    schedule
        Who waits for whom; all at once when None.
    synchronise
        Whether all clients wait for the slowest between two steps.
    attendance
        Who takes part in these rounds, and the bytes each downloads beyond its work; everybody, and none, when None.
    moment_s
        What is asked for within it of each other counts as asked for at once, where the most urgent goes first.
    deadline_s
        From the start of a round until it goes on without those who are not done; never when None. Clients that meet
        between steps cannot have one.
    disciplines
        By what resources are divided that are not served by the schedule; all are when None.

    Returns
    -------
    Timeline
        Totals of every client, round and phase.

    Raises
    ------
    RunError
        If a client has to use a resource of which it has no share, or a link too slow to ever finish.
    """
    environment = simpy.Environment()
    round_end = Barrier(environment, len(work))
    step_end = Barrier(environment, len(work)) if synchronise else None
    totals: list[list[RoundTotals]] = [[] for _ in work]
    memory: list[list[tuple[StepMemory, ...]]] = [[] for _ in work]
    order = schedule or Simultaneous()
    everybody = Attendance.of_everybody((item.client_id for item in work), num_rounds)
    present = (attendance or everybody).rounds
    turns: list[RoundTurns | None] = [None] * len(present)
    if isinstance(order, Chain | Turns):
        turns = [
            RoundTurns(environment, turn_sequences(order, work, taking_part, step_by_step=synchronise).values())
            for taking_part in present
        ]
    priorities = _priorities(environment, work, order, moment_s)
    served = divided(environment, work, disciplines)
    for item, rounds, steps_taken, gets in zip(work, totals, memory, served, strict=True):
        own = [taking_part.get(item.client_id) for taking_part in present]
        priority = priorities.get(item.client_id)
        client = _Client(environment, item, turns, own, round_end, step_end, priority, deadline_s, gets)
        environment.process(client.run(rounds, steps_taken))
    environment.run()
    if len(round_end.ends_s) != num_rounds:
        raise RunError(f"the replay stopped after {len(round_end.ends_s)} of {num_rounds} rounds; needs all of them")
    has_ladders = any(item.ladder is not None for item in work)
    taken = tuple(map(tuple, memory)) if has_ladders else ()
    return Timeline(tuple(tuple(rounds) for rounds in totals), tuple(round_end.ends_s), taken)


def _priorities(
    environment: simpy.Environment, work: Sequence[ClientWork], schedule: Schedule, moment_s: float
) -> dict[str, Priority]:
    """Make the dispatchers of a plan that serves by priority, and say by what each client is served."""
    if not isinstance(schedule, Dispatch):
        return {}
    if any(item.trace is not None for item in work):
        from hybridsplit.runtime.replay.fades import Fades  # late: constant links need no NumPy

    dispatchers = {resource: Dispatcher(environment, moment_s) for resource in SHARED}
    rank = {client: place for place, client in enumerate(schedule.order)}
    found: dict[str, Priority] = {}
    for item in work:
        place = rank[item.client_id]
        fading = {
            link: Fades(trace, schedule.fade_below)
            for link in (Resource.UPLINK, Resource.DOWNLINK)
            if (trace := item.trace_of(link)) is not None
        }
        found[item.client_id] = Priority(dispatchers, item.left_s(schedule.urgency_s[place]), place, fading)
    return found


@dataclass(frozen=True)
class _Client:
    """One client through all rounds: its jobs in order, and the meetings with the others."""

    environment: simpy.Environment
    work: ClientWork
    turns: Sequence[RoundTurns | None]
    catch_up_bytes: Sequence[int | None]
    round_end: Barrier
    step_end: Barrier | None
    priority: Priority | None
    deadline_s: float | None = None
    served: Served | None = None

    def run(self, rounds: list[RoundTotals], steps_taken: list[tuple[StepMemory, ...]]) -> Events:
        """Go through the rounds, adding what each took and, on a ladder, how its steps were taken."""
        usual = self.work.steps()
        for round_index, (turn, extra_bytes) in enumerate(zip(self.turns, self.catch_up_bytes, strict=True)):
            if extra_bytes is None:
                yield from self._skip(turn)
                rounds.append({})
                steps_taken.append(())
                continue
            totals = no_totals()
            origin_s = self.work.trace_origin_s(round_index, self.environment.now)
            memory = self._memory(round_index)
            own = ClientRound(self.environment, self.work, turn, self.priority, totals, origin_s, memory, self.served)
            steps = usual if extra_bytes == 0 else self.work.steps(extra_bytes)
            offset_s = self.work.start_offset_s if round_index == 0 else 0.0
            if self.work.overlaps:
                began_s = self.environment.now
                yield from self._join(own, offset_s)
                yield from SimulatedRound(own, RoundOfPasses.of(steps, self.work.micro_batches)).run(began_s)
            elif self.deadline_s is None:
                yield from self._steps(own, steps, offset_s)
            else:
                yield from self._until(self.deadline_s, own, steps, offset_s)
            yield from _meet(self.environment, self.round_end, totals[Phase.BARRIER])
            rounds.append(totals)
            steps_taken.append(() if memory is None else tuple(memory.steps))

    def _memory(self, round_index: int) -> RoundMemory | None:
        ladder = self.work.ladder
        if ladder is None:
            return None
        from hybridsplit.runtime.replay.memory_walk import RoundMemory

        origin_s = self.work.memory_origin_s(round_index, self.environment.now)
        return RoundMemory(ladder, origin_s, self.work.client_id)

    def _until(self, deadline_s: float, own: ClientRound, steps: Sequence[Sequence[Job]], offset_s: float) -> Events:
        """Do the round up to a deadline; what is under way then is left where it is."""
        began_s = self.environment.now
        doing = self.environment.process(self._interruptible(own, steps, offset_s))
        yield doing | self.environment.timeout(deadline_s * (1.0 + _SAME))
        if doing.is_alive:
            doing.interrupt()
            yield doing
            spent_s = math.fsum(total.seconds + total.waiting_s for total in own.totals.values())
            # Of a client that had done nothing but what is complete, the last moment counts as left.
            left_s = max(self.environment.now - began_s - spent_s, 0.0)
            own.totals[Phase.ABANDONED].seconds = max(left_s, math.ulp(self.environment.now - began_s))

    def _interruptible(self, own: ClientRound, steps: Sequence[Sequence[Job]], offset_s: float) -> Events:
        try:
            yield from self._steps(own, steps, offset_s)
        except simpy.Interrupt:
            # Whoever has its turn after this client is late as well, or takes no part and goes on.
            own.ended(Phase.BARRIER, 0)

    def _steps(self, own: ClientRound, steps: Sequence[Sequence[Job]], offset_s: float) -> Events:
        totals = own.totals
        yield from self._join(own, offset_s)
        yield from own.wait_for(Phase.BARRIER, 0, totals[Phase.MODEL_DOWNLOAD])
        last_turn, left_s = 0, 0.0
        for step, jobs in enumerate(steps):
            if self.step_end is not None and step > 0:
                own.ended(Phase.BARRIER, last_turn)
                at_barrier = PhaseTotals() if own.has_left else totals[Phase.BARRIER]
                yield from _meet(self.environment, self.step_end, at_barrier)
                yield from own.wait_for(Phase.BARRIER, step, at_barrier)
                last_turn = step
            for job in jobs:
                if own.has_left:
                    yield from own.pass_over(job)
                    continue
                yield from own.do(job)
                left_s = self.environment.now
        if own.has_left:
            since_left_s = self.environment.now - left_s
            totals[Phase.ABANDONED].seconds = max(since_left_s, math.ulp(self.environment.now))
        own.ended(Phase.BARRIER, last_turn)

    def _join(self, own: ClientRound, offset_s: float) -> Events:
        if offset_s > 0:
            yield self.environment.timeout(offset_s)
            own.totals[Phase.MODEL_DOWNLOAD].waiting_s += offset_s

    def _skip(self, turn: RoundTurns | None) -> Events:
        """Let a round pass in which the client takes no part: the others do not wait for it."""
        unheeded, name = PhaseTotals(), self.work.client_id
        for step in range(self.work.local_steps if self.step_end is not None else 1):
            if self.step_end is not None and step > 0:
                yield from _meet(self.environment, self.step_end, unheeded)
            if turn is None:
                continue
            ready = turn.wait_for((name, Phase.BARRIER, step))
            if ready is not None:
                yield ready
            turn.ended((name, Phase.BARRIER, step))
        yield from _meet(self.environment, self.round_end, unheeded)


def _meet(environment: simpy.Environment, barrier: Barrier, totals: PhaseTotals) -> Events:
    arrived_s = environment.now
    yield barrier.arrive()
    totals.waiting_s += environment.now - arrived_s
