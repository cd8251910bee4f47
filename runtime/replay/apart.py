"""Rounds of clients that have shares of their own, and so meet at barriers only: each is walked by itself.

No client's times depend on another's between two barriers, so that nothing has to be simulated: the clock of each is
the running sum of its jobs. Clients on constant links that do the same are walked once. The simulation of
:mod:`hybridsplit.runtime.replay.processes` gives the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hybridsplit.runtime.replay.passes import RoundOfPasses, walk_round
from hybridsplit.runtime.replay.timed import TimedJob, TimedSteps, TimedWork
from hybridsplit.runtime.replay.totals import RoundTotals, Timeline, no_totals
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace


def walk_apart(work: Sequence[ClientWork], attendance: Attendance, *, synchronise: bool) -> Timeline:
    """Walk all clients through all rounds.

    Parameters
    ----------
    work
        One item a client.
    attendance
        Who takes part in which round, and the bytes each downloads beyond its work.
    synchronise
        Whether all clients wait for the slowest between two steps.

    Raises
    ------
    RunError
        If a client has to use a link of which it has no share, or one too slow to ever finish.
    """
    timed = TimedWork(work)
    usual: dict[int, TimedSteps] = {}
    recorded = {
        client: _parts_of(item, item.steps())
        for client, item in enumerate(work)
        if item.trace is not None and item.staleness == 0
    }
    totals: list[list[RoundTotals]] = [[] for _ in work]
    ends_s: list[float] = []
    now_s = 0.0
    for round_index, present in enumerate(attendance.rounds):
        paces: dict[tuple[int, float], _Pace] = {}
        for client, item in enumerate(work):
            extra_bytes = present.get(item.client_id)
            if extra_bytes is None:
                totals[client].append({})
                continue
            late_s = item.start_offset_s if round_index == 0 else 0.0
            pace: _Pace
            if item.staleness > 0:
                pace = _Overlapped(item, item.steps(extra_bytes), now_s, late_s, round_index)
                paces[-1 - client, late_s] = pace
            elif item.trace is None:
                steps = timed.steps(client, extra_bytes) if extra_bytes else usual.get(client)
                if steps is None:
                    steps = usual[client] = timed.steps(client, 0)
                found = paces.get((id(steps), late_s))
                pace = _Constant(steps, now_s, late_s) if found is None else found
                paces[id(steps), late_s] = pace
            else:
                parts = _parts_of(item, item.steps(extra_bytes)) if extra_bytes else recorded[client]
                pace = _Recorded(item, parts, now_s, late_s, round_index)
                paces[-1 - client, late_s] = pace
            totals[client].append(pace.totals)
        now_s = _to_the_end(paces.values(), work[0].local_steps if synchronise else 1, now_s)
        ends_s.append(now_s)
    return Timeline(tuple(map(tuple, totals)), tuple(ends_s))


def _to_the_end(paces: Collection[_Pace], meetings: int, now_s: float) -> float:
    """Walk all from one meeting to the next, the last of which ends the round; return when that is."""
    for meeting in range(meetings):
        for pace in paces:
            pace.walk(None if meetings == 1 else meeting)
        now_s = max((pace.now_s for pace in paces), default=now_s)
        for pace in paces:
            pace.meet(now_s)
    return now_s


class _Pace:
    """A round of one client, or of some that are alike.

    Parameters
    ----------
    began_s
        Clock at the start of the round.
    late_s
        How long after it the client joins.
    """

    __slots__ = ("now_s", "totals")

    def __init__(self, began_s: float, late_s: float) -> None:
        self.now_s = began_s
        self.totals = no_totals()
        if late_s > 0:
            self.totals[Phase.MODEL_DOWNLOAD].waiting_s += late_s
            self.now_s += late_s

    def walk(self, step: int | None) -> None:
        """Do the jobs of a step; those of all steps when None."""
        raise NotImplementedError

    def meet(self, at_s: float) -> None:
        """Wait for the others."""
        self.totals[Phase.BARRIER].waiting_s += at_s - self.now_s
        self.now_s = at_s


class _Constant(_Pace):
    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[Sequence[TimedJob]], began_s: float, late_s: float) -> None:
        super().__init__(began_s, late_s)
        self._steps = steps

    def walk(self, step: int | None) -> None:
        """Do the jobs, whose seconds are known."""
        totals, now_s = self.totals, self.now_s
        for jobs in self._steps if step is None else (self._steps[step],):
            for phase, _, _, seconds, size, delay_s in jobs:
                spent = totals[phase]
                now_s += seconds
                spent.seconds += seconds
                spent.bytes += size
                if delay_s > 0:
                    now_s += delay_s
                    totals[Phase.PROPAGATION].seconds += delay_s
        self.now_s = now_s


class _Overlapped(_Pace):
    __slots__ = ("_began_s", "_origin_s", "_passes", "_work")

    def __init__(
        self, work: ClientWork, steps: Sequence[Sequence[Job]], began_s: float, late_s: float, round_index: int
    ) -> None:
        super().__init__(began_s, late_s)
        self._work, self._passes, self._began_s = work, RoundOfPasses.of(steps), began_s
        self._origin_s = work.trace_origin_s(round_index, began_s)

    def walk(self, step: int | None) -> None:
        """Do all jobs of the round: clients whose steps overlap meet others at its end only."""
        self.now_s = walk_round(self._work, self._passes, self.totals, self._began_s, self.now_s, self._origin_s)


class _Part(NamedTuple):
    """A job of a client on a recorded link, with what is the same in every round; without bits it is no transfer."""

    phase: Phase
    seconds: float
    bits: float
    bytes: int
    trace: BandwidthTrace | None
    mean_bps: float | None
    delay_s: float
    recorded_delay: bool


def _parts_of(work: ClientWork, steps: Sequence[Sequence[Job]]) -> list[list[_Part]]:
    return [[_part_of(work, job) for job in jobs] for jobs in steps]


def _part_of(work: ClientWork, job: Job) -> _Part:
    if job.resource is Resource.DEVICE or job.resource is Resource.SERVER:
        seconds = job.amount if job.resource is Resource.DEVICE else work.server_s(job)
        return _Part(job.phase, seconds, 0.0, 0, None, None, 0.0, False)
    trace = work.trace_of(job.resource)
    seconds = work.transfer(job, 0.0).elapsed_s if trace is None else 0.0
    work.check(job)
    has_delays = trace is not None and trace.latency_s is not None
    return _Part(
        job.phase, seconds, bits(job.amount), int(job.amount), trace, work.mean_bps(job.resource),
        work.delay_s(job.resource), has_delays,
    )  # fmt: skip


class _Recorded(_Pace):
    __slots__ = ("_origin_s", "_steps")

    def __init__(
        self, work: ClientWork, steps: Sequence[Sequence[_Part]], began_s: float, late_s: float, round_index: int
    ) -> None:
        super().__init__(began_s, late_s)
        self._steps, self._origin_s = steps, work.trace_origin_s(round_index, began_s)

    def walk(self, step: int | None) -> None:
        """Do the jobs; a transfer takes what the recording has it take at its time."""
        totals, now_s, origin_s = self.totals, self.now_s, self._origin_s
        for parts in self._steps if step is None else (self._steps[step],):
            for phase, seconds, size_bits, size, trace, mean_bps, delay_s, has_delays in parts:
                spent = totals[phase]
                if trace is None:
                    now_s += seconds
                    spent.seconds += seconds
                else:
                    taken = trace.transfer(size_bits, now_s - origin_s, mean_bps)
                    now_s += taken.elapsed_s
                    spent.seconds += taken.served_s
                    spent.waiting_s += taken.waiting_s
                spent.bytes += size
                if has_delays and trace is not None:
                    recorded_s = trace.delay_s(now_s - origin_s)
                    delay_s = delay_s if recorded_s is None else recorded_s
                if delay_s > 0:
                    now_s += delay_s
                    totals[Phase.PROPAGATION].seconds += delay_s
        self.now_s = now_s
