"""Rounds of a client whose work overlaps: forward passes go on while gradients of what went before are on their way.

The device alternates in a fixed order, ``F_0 ... F_D, B_0, F_{D+1}, B_1, ...`` over batches, or ``F_0 ... F_{m-1},
B_0 ... B_{m-1}`` over the micro-batches of every step. Uplink, server and downlink each take one of them after another
at the client's own shares, and what was sent arrives after the delay of its link.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hybridsplit.runtime.replay.totals import RoundTotals
from hybridsplit.runtime.replay.transfer import Transfer
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.jobs import Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase, elapsed_s


class Pass(NamedTuple):
    """The jobs of one batch, or micro-batch, in order, None for one of nothing: forward, up, server, down, backward."""

    forward: Job | None
    up: Job | None
    server: Job | None
    down: Job | None
    backward: Job | None


@dataclass(frozen=True)
class RoundOfPasses:
    """A round, batch by batch or micro-batch by micro-batch.

    Parameters
    ----------
    download, upload
        The exchange of the client part; None where there is none.
    passes
        The batches, or the micro-batches of all steps.
    micro_batches
        How many of them a step has.
    """

    download: Job | None
    passes: tuple[Pass, ...]
    upload: Job | None
    micro_batches: int = 1

    @classmethod
    def of(cls, steps: Sequence[Sequence[Job]], micro_batches: int = 1) -> RoundOfPasses:
        """Sort the jobs of a round, step by step, each with so many micro-batches."""
        exchanged = {job.phase: job for step in steps for job in step if job.phase in _EXCHANGES}
        passes = tuple(
            _pass_of([job for job in step if job.phase not in _EXCHANGES and job.micro_batch == number])
            for step in steps
            for number in range(micro_batches)
        )
        return cls(exchanged.get(Phase.MODEL_DOWNLOAD), passes, exchanged.get(Phase.MODEL_UPLOAD), micro_batches)

    def device_order(self, staleness: int) -> Iterator[tuple[bool, int]]:
        """Yield what the device does one after another: whether forward, and which batch or micro-batch."""
        number, parts = len(self.passes), self.micro_batches
        if parts > 1:
            for first in range(0, number, parts):
                yield from ((True, first + part) for part in range(parts))
                yield from ((False, first + part) for part in range(parts))
            return
        for position in range(number + staleness):
            if position < number:
                yield True, position
            if position >= staleness:
                yield False, position - staleness


_EXCHANGES = (Phase.MODEL_DOWNLOAD, Phase.MODEL_UPLOAD)


def _pass_of(jobs: Sequence[Job]) -> Pass:
    compute = [job for job in jobs if job.phase is Phase.CLIENT_COMPUTE]
    by_phase = {job.phase: job for job in jobs}
    forward, backward = compute if len(compute) == 2 else (None, None)
    return Pass(
        forward, by_phase.get(Phase.UPLINK), by_phase.get(Phase.SERVER_COMPUTE), by_phase.get(Phase.DOWNLINK), backward
    )


@dataclass
class Spent:
    """What the jobs of a round have taken so far, put into totals when it ends.

    Parameters
    ----------
    totals
        By phase.
    delays_s
        Every delay that something was on its way for.
    """

    totals: RoundTotals
    delays_s: list[float] = field(default_factory=list)

    def served(self, job: Job, taken: Transfer) -> None:
        """Add a job."""
        spent = self.totals[job.phase]
        spent.seconds += taken.served_s
        spent.waiting_s += taken.waiting_s
        if job.resource.is_up or job.resource.is_down:
            spent.bytes += int(job.amount)

    def ended(self, round_s: float) -> None:
        """End the round: what went on at the same time is what all phases sum to, beyond the seconds that passed."""
        propagation = self.totals[Phase.PROPAGATION]
        propagation.seconds = math.fsum([propagation.seconds, *self.delays_s])
        parts = [elapsed_s(phase, one.seconds, one.waiting_s) for phase, one in self.totals.items()]
        self.totals[Phase.OVERLAPPED].seconds = max(math.fsum(parts) - round_s, 0.0)


def takes(work: ClientWork, job: Job, start_s: float, origin_s: float) -> Transfer:
    """Return what a job takes that begins at a time.

    Parameters
    ----------
    work, job
        Whose job, and which.
    start_s, origin_s
        The time, and when the client's recording stands at its beginning.
    """
    if job.resource is Resource.DEVICE:
        return Transfer(job.amount, 0.0)
    if job.resource is Resource.SERVER:
        return Transfer(work.server_s(job), 0.0)
    return work.transfer(job, start_s - origin_s)


def walk_round(
    work: ClientWork, passes: RoundOfPasses, totals: RoundTotals, began_s: float, start_s: float, origin_s: float
) -> float:
    """Walk a round by the times at which each batch leaves each resource; return when the client is done.

    Parameters
    ----------
    work, passes, totals
        The client, its batches, and what it spends.
    began_s, start_s
        When the round began, and when the client joined it.
    origin_s
        When its recording stands at its beginning.
    """
    spent, staleness = Spent(totals), work.staleness

    def do(job: Job | None, ready_s: float) -> float:
        if job is None:
            return ready_s
        taken = takes(work, job, ready_s, origin_s)
        spent.served(job, taken)
        return ready_s + taken.elapsed_s

    def arrives(job: Job | None, end_s: float) -> float:
        if job is None:
            return end_s
        delay_s = work.delay_s(job.resource, end_s - origin_s)
        if delay_s > 0:
            spent.delays_s.append(delay_s)
            return end_s + delay_s
        return end_s

    now_s = arrives(passes.download, do(passes.download, start_s))
    up_s = server_s = down_s = now_s
    answers_s: list[float] = []
    for is_forward, batch in passes.device_order(staleness):
        one = passes.passes[batch]
        if not is_forward:
            now_s = do(one.backward, max(now_s, answers_s[batch]))
            continue
        now_s = do(one.forward, now_s)
        up_s = do(one.up, max(up_s, now_s))
        server_s = do(one.server, max(server_s, arrives(one.up, up_s)))
        down_s = do(one.down, max(down_s, server_s))
        answers_s.append(arrives(one.down, down_s))
    now_s = arrives(passes.upload, do(passes.upload, now_s))
    spent.ended(now_s - began_s)
    return now_s
