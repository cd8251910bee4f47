"""A client's jobs as events of the simulation: on its device, on shared resources, and on the way."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import simpy

from hybridsplit.runtime.replay.admission import RoundTurns
from hybridsplit.runtime.replay.dispatch import Dispatcher
from hybridsplit.runtime.replay.services import ConstantService, RecordedService
from hybridsplit.runtime.replay.totals import PhaseTotals, RoundTotals
from hybridsplit.runtime.replay.transfer import Transfer
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.jobs import SHARED, Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.disciplined import Served
    from hybridsplit.runtime.replay.fades import Fades
    from hybridsplit.runtime.replay.memory_walk import RoundMemory

Events = Generator[simpy.Event, object, None]


@dataclass(frozen=True)
class Priority:
    """By what a client is served where the most urgent goes first.

    Parameters
    ----------
    dispatchers
        The shared resources.
    left_s
        By phase and step, seconds that the client has left, its urgency added.
    rank
        Its place among equals.
    fading
        The fades of its links, where they are recorded.
    """

    dispatchers: Mapping[Resource, Dispatcher]
    left_s: Mapping[tuple[Phase, int], float]
    rank: int
    fading: Mapping[Resource, Fades]


@dataclass(frozen=True)
class ClientRound:
    """One round of one client.

    Parameters
    ----------
    environment
        The simulation.
    work
        What the client does.
    turns
        Whom it waits for, where the plan has turns; None elsewhere.
    priority
        By what it is served, where the plan dispatches; None elsewhere.
    totals
        What it spends, by phase.
    origin_s
        Clock at which its trace stands at its beginning.
    memory
        Its way through its ladder; None where every step is as planned.
    served
        What it gets of resources that a discipline divides; None where all is served by the plan.
    """

    environment: simpy.Environment
    work: ClientWork
    turns: RoundTurns | None
    priority: Priority | None
    totals: RoundTotals
    origin_s: float
    memory: RoundMemory | None = None
    served: Served | None = None

    @property
    def has_left(self) -> bool:
        """Whether the client has left the round for want of memory."""
        return self.memory is not None and self.memory.has_left

    def do(self, job: Job) -> Events:
        """Do a job, from asking for its resource until what it sent has arrived."""
        spent = self.totals[job.phase]
        if job.resource is Resource.DEVICE and self.memory is not None:
            yield from self._within_memory(job.step, spent, self.memory)
            return
        if job.resource is Resource.DEVICE:
            yield self.environment.timeout(job.amount)
            spent.seconds += job.amount
            return
        if self.served is not None and self._is_divided(job.resource):
            yield from self._by_discipline(job, spent, self.served)
        elif self.priority is None or job.resource not in SHARED:
            yield from self._in_turn(job, spent)
        else:
            yield from self._by_priority(job, spent, self.priority)
        if job.resource is Resource.SERVER:
            return
        spent.bytes += int(job.amount)
        delay_s = self.work.delay_s(job.resource, self.environment.now - self.origin_s)
        if delay_s > 0:
            yield self.environment.timeout(delay_s)
            self.totals[Phase.PROPAGATION].seconds += delay_s

    def pass_over(self, job: Job) -> Events:
        """Let the turn of a job pass that is not done."""
        if self.turns is not None and job.resource in SHARED and not self._is_divided(job.resource):
            yield from self.wait_for(job.phase, job.step, PhaseTotals())
            self.ended(job.phase, job.step)

    def _within_memory(self, step: int, spent: PhaseTotals, memory: RoundMemory) -> Events:
        part = memory.next_part(step, self.environment.now)
        if part is None:
            return
        if part.wait_s > 0:
            yield self.environment.timeout(part.wait_s)
            self.totals[Phase.MEMORY].waiting_s += part.wait_s
        yield self.environment.timeout(part.seconds)
        spent.seconds += part.seconds
        memory.computed(self.environment.now)

    def wait_for(self, phase: Phase, step: int, spent: PhaseTotals) -> Events:
        """Wait until all jobs before this one have ended, where the plan has turns."""
        if self.turns is None:
            return
        ready = self.turns.wait_for((self.work.client_id, phase, step))
        if ready is not None:
            asked_s = self.environment.now
            yield ready
            spent.waiting_s += self.environment.now - asked_s

    def ended(self, phase: Phase, step: int) -> None:
        """Say that a job, or a turn of the client's own, has ended, where the plan has turns."""
        if self.turns is not None:
            self.turns.ended((self.work.client_id, phase, step))

    def _takes(self, job: Job, start_s: float) -> Transfer:
        if job.resource is Resource.SERVER:
            return Transfer(self.work.server_s(job), 0.0)
        return self.work.transfer(job, start_s - self.origin_s)

    def _in_turn(self, job: Job, spent: PhaseTotals) -> Events:
        takes_turns = self.turns is not None and job.resource in SHARED
        if takes_turns:
            yield from self.wait_for(job.phase, job.step, spent)
        taken = self._takes(job, self.environment.now)
        yield self.environment.timeout(taken.elapsed_s)
        if takes_turns:
            self.ended(job.phase, job.step)
        spent.seconds += taken.served_s
        spent.waiting_s += taken.waiting_s

    def _is_divided(self, resource: Resource) -> bool:
        return self.served is not None and resource in self.served.resources

    def _by_discipline(self, job: Job, spent: PhaseTotals, served: Served) -> Events:
        asked_s = self.environment.now
        done = served.ask(self.work, job, asked_s, self.origin_s)
        try:
            seconds = yield done
        except simpy.Interrupt:
            served.withdraw(job)
            raise
        assert isinstance(seconds, float)
        elapsed_s = self.environment.now - asked_s
        spent.seconds += min(seconds, elapsed_s)
        spent.waiting_s += max(0.0, elapsed_s - seconds)

    def _by_priority(self, job: Job, spent: PhaseTotals, priority: Priority) -> Events:
        service: ConstantService | RecordedService
        trace = None if job.resource is Resource.SERVER else self.work.trace_of(job.resource)
        if trace is None:
            service = ConstantService(self._takes(job, self.environment.now).elapsed_s)
        else:
            self.work.check(job)
            mean_bps = self.work.mean_bps(job.resource)
            service = RecordedService(bits(job.amount), trace, priority.fading[job.resource], mean_bps, self.origin_s)
        asked_s = self.environment.now
        left_s = priority.left_s.get((job.phase, job.step), 0.0)
        dispatcher = priority.dispatchers[job.resource]
        done = dispatcher.serve(left_s, priority.rank, service)
        try:
            yield done
        except simpy.Interrupt:
            dispatcher.withdraw(done)
            raise
        spent.seconds += service.served_s
        spent.waiting_s += max(0.0, self.environment.now - asked_s - service.served_s)
