"""Rounds of a client whose work overlaps, as simulated processes: the device, and three queues it feeds and is fed by.

:mod:`hybridsplit.runtime.replay.passes` gives the same to the last bit without a simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import simpy

from hybridsplit.runtime.replay.passes import RoundOfPasses, Spent, takes
from hybridsplit.runtime.replay.rounds import ClientRound, Events
from hybridsplit.scenarios.contracts.jobs import Job


@dataclass(frozen=True)
class SimulatedRound:
    """The same as processes: the device, and three queues that it feeds and is fed by.

    Parameters
    ----------
    own
        The client's round.
    passes
        Its batches.
    """

    own: ClientRound
    passes: RoundOfPasses

    def run(self, began_s: float) -> Events:
        """Do the round, which began at a time."""
        environment, number = self.own.environment, len(self.passes.passes)
        spent = Spent(self.own.totals)
        computed, received, processed, answered = ([environment.event() for _ in range(number)] for _ in range(4))
        yield from self._do(self.passes.download, spent)
        yield from self._on_its_way(self.passes.download, spent)
        environment.process(self._carry([one.up for one in self.passes.passes], computed, received, spent))
        environment.process(self._serve(received, processed, spent))
        environment.process(self._carry([one.down for one in self.passes.passes], processed, answered, spent))
        for is_forward, batch in self.passes.device_order(self.own.work.staleness):
            one = self.passes.passes[batch]
            if is_forward:
                yield from self._do(one.forward, spent)
                computed[batch].succeed()
            else:
                yield answered[batch]
                yield from self._do(one.backward, spent)
        yield from self._do(self.passes.upload, spent)
        yield from self._on_its_way(self.passes.upload, spent)
        spent.ended(environment.now - began_s)

    def _do(self, job: Job | None, spent: Spent) -> Events:
        if job is not None:
            taken = takes(self.own.work, job, self.own.environment.now, self.own.origin_s)
            spent.served(job, taken)
            yield self.own.environment.timeout(taken.elapsed_s)

    def _on_its_way(self, job: Job | None, spent: Spent) -> Events:
        if job is None:
            return
        delay_s = self.own.work.delay_s(job.resource, self.own.environment.now - self.own.origin_s)
        if delay_s > 0:
            spent.delays_s.append(delay_s)
            yield self.own.environment.timeout(delay_s)

    def _carry(
        self, jobs: Sequence[Job | None], ready: Sequence[simpy.Event], there: Sequence[simpy.Event], spent: Spent
    ) -> Events:
        """Carry one batch after another over a link; nothing waits for what is on its way."""
        for job, is_ready, is_there in zip(jobs, ready, there, strict=True):
            yield is_ready
            yield from self._do(job, spent)
            self.own.environment.process(self._arrive(job, is_there, spent))

    def _arrive(self, job: Job | None, is_there: simpy.Event, spent: Spent) -> Events:
        yield from self._on_its_way(job, spent)
        is_there.succeed()

    def _serve(self, ready: Sequence[simpy.Event], done: Sequence[simpy.Event], spent: Spent) -> Events:
        for one, is_ready, is_done in zip(self.passes.passes, ready, done, strict=True):
            yield is_ready
            yield from self._do(one.server, spent)
            is_done.succeed()
