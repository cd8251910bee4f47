"""Service by priority over recorded links, walked event by event: fades change who is served.

As :mod:`hybridsplit.runtime.replay.urgent`, the same events in the same order as in the simulation
(:mod:`hybridsplit.runtime.replay.dispatch` within :mod:`hybridsplit.runtime.replay.processes`), to the last bit.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from hybridsplit.runtime.replay.event_walk import EventWalk
from hybridsplit.runtime.replay.fades import Fades
from hybridsplit.runtime.replay.services import ConstantService, RecordedService
from hybridsplit.runtime.replay.totals import RoundTotals, totals_of
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.runtime.replay.transfer import LAST_PART
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import SHARED, Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Dispatch, urgency_key
from hybridsplit.scenarios.units import bits

_LINKS = frozenset({Resource.UPLINK, Resource.DOWNLINK, Resource.DEDICATED_UPLINK, Resource.DEDICATED_DOWNLINK})
Key = tuple[bool, float, int]
"""Whether the link is in a fade, less the seconds that a client has left, its place among equals: least first."""


class _Request:
    """A client that waits for a shared resource, or has it."""

    __slots__ = ("asked_s", "client", "is_done", "key", "number", "rank", "service", "shared", "since_s", "urgency")

    def __init__(
        self,
        client: int,
        shared: _Shared,
        service: ConstantService | RecordedService,
        urgency: float,
        rank: int,
        asked_s: float,
    ) -> None:
        self.client, self.shared, self.service = client, shared, service
        self.urgency, self.rank, self.key = urgency, rank, (False, urgency, rank)
        self.asked_s = self.since_s = asked_s
        self.number, self.is_done = 0, False


class _Shared:
    """A shared resource: who waits for it, and who has it since when and until when."""

    __slots__ = ("begun_s", "decides", "ends_s", "entered", "free_s", "grants", "served", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[Key, int, int, _Request]] = []
        self.entered = itertools.count()
        self.served: _Request | None = None
        self.begun_s = self.ends_s = self.free_s = 0.0
        self.grants = 0
        self.decides = False


class _Recorded(NamedTuple):
    """What goes over a recorded link."""

    size_bits: float
    trace: BandwidthTrace
    fades: Fades
    mean_bps: float | None


class _Task(NamedTuple):
    """A job.

    Its shared resource and the client's urgency at it, where there is one; what is recorded, or else its seconds; and
    how long what was sent is on its way, where no recording says so.
    """

    job: Job
    shared: _Shared | None
    urgency: float
    recorded: _Recorded | None
    seconds: float
    delay_s: float | None


class RecordedWalk(EventWalk):
    """All clients through all rounds, over links of which some are recorded.

    Parameters
    ----------
    work, attendance, meetings
        As of :class:`hybridsplit.runtime.replay.event_walk.EventWalk`.
    schedule
        The order and the urgency of the clients, and what is a fade.
    moment_s
        What is asked for within it of each other counts as asked for at once.
    """

    def __init__(
        self, work: Sequence[ClientWork], attendance: Attendance, schedule: Dispatch, moment_s: float, meetings: int
    ) -> None:
        super().__init__(work, attendance, meetings)
        place_of = {name: place for place, name in enumerate(schedule.order)}
        self._moment_s = moment_s
        self._rank = [place_of[item.client_id] for item in work]
        self._urgency_s = [schedule.urgency_s[rank] for rank in self._rank]
        self._resources = {resource: _Shared() for resource in SHARED}
        self._fade_below = schedule.fade_below
        self._fades: dict[int, Fades] = {}
        """By trace: clients that have the same one share them."""
        self._origin_s = [0.0] * len(work)
        self._tasks: dict[tuple[int, int], tuple[tuple[_Task | None, ...], tuple[Phase, ...]]] = {}

    def _to_do(self, client: int, extra_bytes: int) -> tuple[Sequence[_Task | None], RoundTotals]:
        item = self._work[client]
        self._origin_s[client] = item.trace_origin_s(len(self._ends_s), self._now_s)
        found = self._tasks.get((client, extra_bytes))
        if found is None:
            found = self._tasks[client, extra_bytes] = self._tasks_of(client, extra_bytes)
        return found[0], totals_of(found[1])

    def _tasks_of(self, client: int, extra_bytes: int) -> tuple[tuple[_Task | None, ...], tuple[Phase, ...]]:
        item = self._work[client]
        # Of a download that the plan does not have nothing is known, as if no time were left.
        left_s = item.left_s(self._urgency_s[client])
        tasks: list[_Task | None] = []
        for step, jobs in enumerate(item.steps(extra_bytes)):
            tasks += [None] if step > 0 and self._meetings > 1 else []
            tasks += [self._task(item, job, left_s.get((job.phase, job.step), 0.0)) for job in jobs]
        return (*tasks, None), tuple(dict.fromkeys(task.job.phase for task in tasks if task is not None))

    def _task(self, item: ClientWork, job: Job, left_s: float) -> _Task:
        shared, urgency = self._resources.get(job.resource), -urgency_key(left_s)
        if job.resource is Resource.DEVICE:
            return _Task(job, None, urgency, None, job.amount, 0.0)
        if job.resource is Resource.SERVER:
            return _Task(job, shared, urgency, None, item.server_s(job), 0.0)
        trace = item.trace_of(job.resource)
        if trace is None:
            return _Task(job, shared, urgency, None, item.transfer(job, 0.0).elapsed_s, item.delay_s(job.resource))
        item.check(job)
        fades = self._fades.get(id(trace))
        if fades is None:
            fades = self._fades[id(trace)] = Fades(trace, self._fade_below)
        recorded = _Recorded(bits(job.amount), trace, fades, item.mean_bps(job.resource))
        delay_s = item.delay_s(job.resource) if trace.latency_s is None else None
        return _Task(job, shared, urgency, recorded, 0.0, delay_s)

    def _go_on(self, client: int) -> None:
        task: _Task | None = self._parts[client][self._next[client]]
        if task is None:
            self._arrive(client)
            return
        _, shared, urgency, recorded, seconds, _ = task
        if shared is not None:
            service: ConstantService | RecordedService
            if recorded is None:
                service = ConstantService(seconds)
            else:
                size_bits, trace, fades, mean_bps = recorded
                service = RecordedService(size_bits, trace, fades, mean_bps, self._origin_s[client])
            self._enter(_Request(client, shared, service, urgency, self._rank[client], self._now_s))
        elif recorded is None:
            self._at(self._now_s + seconds, self._by_itself, (client, seconds, 0.0))
        else:
            taken = recorded.trace.transfer(recorded.size_bits, self._now_s - self._origin_s[client], recorded.mean_bps)
            self._at(self._now_s + taken.elapsed_s, self._by_itself, (client, taken.served_s, taken.waiting_s))

    def _by_itself(self, done: tuple[int, float, float]) -> None:
        """End a job on the device, or on a link of the client's own."""
        self._finish(*done)

    def _finish(self, client: int, seconds: float, waiting_s: float) -> None:
        """Count a job that is done; what was sent may be on its way for some time."""
        task: _Task = self._parts[client][self._next[client]]
        job, delay_s = task.job, task.delay_s
        spent = self._spent[client][job.phase]
        spent.seconds += seconds
        spent.waiting_s += waiting_s
        if job.resource in _LINKS:
            spent.bytes += int(job.amount)
            if delay_s is None:
                delay_s = self._work[client].delay_s(job.resource, self._now_s - self._origin_s[client])
            if delay_s > 0:
                self._at(self._now_s + delay_s, self._delivered, (client, delay_s))
                return
        self._next[client] += 1
        self._go_on(client)

    def _delivered(self, sent: tuple[int, float]) -> None:
        client, delay_s = sent
        self._spent[client][Phase.PROPAGATION].seconds += delay_s
        self._next[client] += 1
        self._go_on(client)

    def _enter(self, request: _Request) -> None:
        """Let a request wait by its key of now; where it fades or stops fading it does so anew."""
        now_s, shared = self._now_s, request.shared
        request.number += 1
        request.since_s = now_s
        is_fading, changes_s = request.service.fade(now_s)
        request.key = key = is_fading, request.urgency, request.rank
        heapq.heappush(shared.waiting, (key, next(shared.entered), request.number, request))
        if changes_s < math.inf:
            # Rounding may name a change that has just been: the clock goes on all the same.
            earliest_s = max(now_s + self._moment_s, math.nextafter(now_s, math.inf))
            self._later(max(changes_s, earliest_s), self._changed, request)
        if shared.served is None or key < shared.served.key:
            self._decide_soon(shared)

    def _changed(self, request: _Request) -> None:
        """A fade has begun or ended."""
        if request.is_done:
            return
        shared = request.shared
        if request is shared.served:
            # A fade that begins with its last bit is not waited out.
            if shared.ends_s - self._now_s <= LAST_PART * (shared.ends_s - shared.begun_s):
                return
            self._set_aside(shared, self._now_s)
            shared.free_s = self._now_s
            self._decide_soon(shared)
        self._enter(request)

    def _decide_soon(self, shared: _Shared) -> None:
        if not shared.decides:
            shared.decides = True
            self._later(self._now_s + self._moment_s, self._decide, shared)

    def _decide(self, shared: _Shared) -> None:
        """Serve the most urgent; another that was served goes on later where it was."""
        shared.decides = False
        waiting, before = shared.waiting, shared.served
        while waiting and waiting[0][2] != waiting[0][3].number:
            heapq.heappop(waiting)
        if not waiting or (before is not None and before.key < waiting[0][0]):
            return
        chosen = heapq.heappop(waiting)[3]
        chosen.number += 1
        if before is None:
            begins_s = max(shared.free_s, chosen.since_s)
        else:
            begins_s = max(shared.begun_s, chosen.since_s)
            self._set_aside(shared, begins_s)
            before.number += 1
            heapq.heappush(waiting, (before.key, next(shared.entered), before.number, before))
        shared.served, shared.begun_s = chosen, begins_s
        shared.grants += 1
        shared.ends_s = chosen.service.end_s(begins_s)
        self._later(shared.ends_s, self._ended, (shared, shared.grants))

    def _set_aside(self, shared: _Shared, at_s: float) -> None:
        assert shared.served is not None
        shared.served.service.went_on(shared.begun_s, at_s)
        shared.served = None
        shared.grants += 1

    def _ended(self, grant: tuple[_Shared, int]) -> None:
        """End a job, unless another has taken its place since."""
        shared, number = grant
        request = shared.served
        if number != shared.grants or request is None:
            return
        request.number += 1
        request.is_done = True
        self._at(self._now_s, self._served, request)
        shared.served, shared.free_s = None, self._now_s
        if shared.waiting:
            self._decide_soon(shared)

    def _served(self, request: _Request) -> None:
        served_s = request.service.served_s
        self._finish(request.client, served_s, max(0.0, self._now_s - request.asked_s - served_s))
