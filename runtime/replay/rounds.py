"""A client's jobs as events of the simulation: on its device, on shared resources, and on the way."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import simpy

from hybridsplit.runtime.replay.admission import RoundTurns
from hybridsplit.runtime.replay.dispatch import Dispatcher
from hybridsplit.runtime.replay.transfer import Transfer
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.jobs import Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.fades import Fades

Events = Generator[simpy.Event, object, None]

FADE = 0.1
"""A link below this fraction of its mean rate is in a fade."""


@dataclass(slots=True)
class PhaseTotals:
    """What a client spent in one phase of one round: seconds served, seconds waited, bytes carried."""

    seconds: float = 0.0
    waiting_s: float = 0.0
    bytes: int = 0


RoundTotals = dict[Phase, PhaseTotals]


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
        The fades of its link; None where it is constant.
    """

    dispatchers: Mapping[Resource, Dispatcher]
    left_s: Mapping[tuple[Phase, int], float]
    rank: int
    fading: Fades | None = None


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
        Whom it waits for, where the plan has turns.
    priority
        By what it is served, where the plan dispatches; None elsewhere.
    totals
        What it spends, by phase.
    origin_s
        Clock at which its trace stands at its beginning.
    """

    environment: simpy.Environment
    work: ClientWork
    turns: RoundTurns
    priority: Priority | None
    totals: RoundTotals
    origin_s: float

    def do(self, job: Job) -> Events:
        """Do a job, from asking for its resource until what it sent has arrived."""
        spent = self.totals[job.phase]
        if job.resource is Resource.DEVICE:
            yield self.environment.timeout(job.amount)
            spent.seconds += job.amount
            return
        if self.priority is None:
            yield from self._in_turn(job, spent)
        elif self.work.trace is None or job.resource is Resource.SERVER:
            yield from self._by_priority(job, spent, self.priority)
        else:
            yield from self._through_fades(job, spent, self.priority)
        if job.resource is Resource.SERVER:
            return
        spent.bytes += int(job.amount)
        delay_s = self.work.delay_s(job.resource)
        if delay_s > 0:
            yield self.environment.timeout(delay_s)
            self.totals[Phase.PROPAGATION].seconds += delay_s

    def wait_for(self, phase: Phase, step: int, spent: PhaseTotals) -> Events:
        """Wait until all jobs before this one have ended, where the plan has turns."""
        ready = self.turns.wait_for((self.work.client_id, phase, step))
        if ready is not None:
            asked_s = self.environment.now
            yield ready
            spent.waiting_s += self.environment.now - asked_s

    def _takes(self, job: Job, start_s: float) -> Transfer:
        if job.resource is Resource.SERVER:
            return Transfer(self.work.server_s(job), 0.0)
        return self.work.transfer(job, start_s - self.origin_s)

    def _in_turn(self, job: Job, spent: PhaseTotals) -> Events:
        yield from self.wait_for(job.phase, job.step, spent)
        taken = self._takes(job, self.environment.now)
        yield self.environment.timeout(taken.elapsed_s)
        self.turns.ended((self.work.client_id, job.phase, job.step))
        spent.seconds += taken.served_s
        spent.waiting_s += taken.waiting_s

    def _by_priority(self, job: Job, spent: PhaseTotals, priority: Priority) -> Events:
        dispatcher = priority.dispatchers[job.resource]
        asked = dispatcher.request(priority.left_s.get((job.phase, job.step), 0.0), priority.rank)
        start_s = yield asked.granted
        assert isinstance(start_s, float)
        taken = self._takes(job, start_s)
        yield self.environment.timeout(max(0.0, start_s + taken.elapsed_s - self.environment.now))
        dispatcher.release()
        spent.seconds += taken.served_s
        spent.waiting_s += start_s - asked.asked_s + taken.waiting_s

    def _through_fades(self, job: Job, spent: PhaseTotals, priority: Priority) -> Events:
        """Send the bits in pieces: at every fade that begins or ends the client asks anew."""
        work, trace, environment = self.work, self.work.trace, self.environment
        fading = priority.fading
        assert trace is not None
        assert fading is not None
        work.check(job)
        dispatcher, mean_bps = priority.dispatchers[job.resource], work.mean_bps(job.resource)
        left_s = priority.left_s.get((job.phase, job.step), 0.0)
        left_bits, began_s, served_s = bits(job.amount), environment.now, 0.0
        while left_bits > 0:
            position_s = environment.now - self.origin_s
            fades, changes_s = fading.at(position_s)
            asked = dispatcher.request(left_s, priority.rank, fades=fades)
            if changes_s < math.inf:
                until_s = max(dispatcher.moment_s, changes_s + self.origin_s - environment.now)
                yield asked.granted | environment.timeout(until_s)
            else:
                yield asked.granted
            if not asked.granted.triggered:
                dispatcher.withdraw(asked)
                continue
            start_s = asked.granted.value
            taken = trace.transfer(left_bits, start_s - self.origin_s, mean_bps)
            end_s = min(start_s + taken.elapsed_s, changes_s + self.origin_s)
            ending = environment.timeout(max(0.0, end_s - environment.now))
            yield ending | dispatcher.wanted if fades else ending
            if environment.now >= start_s + taken.elapsed_s:
                left_bits, served_s = 0.0, served_s + taken.served_s
            else:
                sent = fading.carried(start_s - self.origin_s, environment.now - self.origin_s, mean_bps)
                left_bits, served_s = left_bits - sent.bits, served_s + sent.served_s
            dispatcher.release()
        spent.seconds += served_s
        spent.waiting_s += max(0.0, environment.now - began_s - served_s)
