"""Service by priority over constant links, walked event by event.

The same events in the same order as in the simulation (:mod:`hybridsplit.runtime.replay.dispatch` within
:mod:`hybridsplit.runtime.replay.processes`), which gives the same to the last bit, without its processes: a third of
the time. Where links are recorded, fades change who is served: :mod:`hybridsplit.runtime.replay.urgent_recorded`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from hybridsplit.runtime.replay.event_walk import EventWalk
from hybridsplit.runtime.replay.timed import TimedSteps, TimedWork
from hybridsplit.runtime.replay.totals import RoundTotals, Timeline, totals_of
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import SHARED
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import Dispatch, urgency_key

Wish = tuple[float, int, int]
"""Less the seconds that a client has left, its place among equals, and the client; the smallest is served."""


def walk_by_priority(
    work: Sequence[ClientWork], attendance: Attendance, schedule: Dispatch, *, synchronise: bool, moment_s: float
) -> Timeline:
    """Walk all clients through all rounds.

    Parameters
    ----------
    work
        One item a client.
    attendance
        Who takes part in which round, and the bytes each downloads beyond its work.
    schedule
        The order and the urgency of the clients.
    synchronise
        Whether all clients wait for the slowest between two steps.
    moment_s
        What is asked for within it of each other counts as asked for at once.

    Raises
    ------
    RunError
        If a client has to use a link of which it has no share, or one too slow to ever finish.
    """
    meetings = work[0].local_steps if synchronise else 1
    if all(item.trace is None for item in work):
        return _Walk(work, attendance, schedule, moment_s, meetings).timeline()
    from hybridsplit.runtime.replay.urgent_recorded import RecordedWalk  # late: constant links need no NumPy

    return RecordedWalk(work, attendance, schedule, moment_s, meetings).timeline()


class _Shared:
    """A shared resource: who wants it, the most urgent first, and who has it since when."""

    __slots__ = ("begun_s", "decides", "free_s", "grants", "served", "wanted_by")

    def __init__(self) -> None:
        self.wanted_by: list[Wish] = []
        self.served: Wish | None = None
        self.begun_s = self.free_s = 0.0
        self.decides = False
        self.grants = 0


class _Part(NamedTuple):
    """A job on a shared resource; by itself, on the device or a link of the client's own, where that is None."""

    phase: Phase
    shared: _Shared | None
    seconds: float
    bytes: int
    delay_s: float


class _Parts(NamedTuple):
    """The parts of a round; None is a meeting of all clients. Seconds are those of each, the last part first."""

    in_order: tuple[_Part | None, ...]
    backwards_s: list[float]
    phases: tuple[Phase, ...]


class _Walk(EventWalk):
    def __init__(
        self, work: Sequence[ClientWork], attendance: Attendance, schedule: Dispatch, moment_s: float, meetings: int
    ) -> None:
        super().__init__(work, attendance, meetings)
        place_of = {name: place for place, name in enumerate(schedule.order)}
        self._timed, self._moment_s = TimedWork(work), moment_s
        self._rank = [place_of[item.client_id] for item in work]
        self._urgency_s = [schedule.urgency_s[rank] for rank in self._rank]
        self._urgency: list[Sequence[float]] = [()] * len(work)
        self._usual: dict[int, tuple[_Parts, Sequence[float]]] = {}
        self._shared = {resource: _Shared() for resource in SHARED}
        self._parts_of: dict[int, _Parts] = {}
        self._asked_s, self._owed_s = [0.0] * len(work), [0.0] * len(work)

    def _to_do(self, client: int, extra_bytes: int) -> tuple[Sequence[_Part | None], RoundTotals]:
        parts, self._urgency[client] = self._urgent_parts(client, extra_bytes)
        return parts.in_order, totals_of(parts.phases)

    def _urgent_parts(self, client: int, extra_bytes: int) -> tuple[_Parts, Sequence[float]]:
        """Return the parts of a client's round, and by what it is served in each: the smallest is most urgent."""
        if extra_bytes == 0 and client in self._usual:
            return self._usual[client]
        parts = self._parts_in(self._timed.steps(client, extra_bytes))
        usual = parts if extra_bytes == 0 else self._parts_in(self._timed.steps(client, 0))
        left_s = list(itertools.accumulate(usual.backwards_s, initial=self._urgency_s[client]))
        # Of a download that the plan does not have nothing is known, as if no time were left.
        left_s += [0.0] * (len(parts.in_order) - len(usual.in_order))
        found = parts, [-urgency_key(seconds) for seconds in reversed(left_s)]
        if extra_bytes == 0:
            self._usual[client] = found
        return found

    def _parts_in(self, steps: TimedSteps) -> _Parts:
        """Return the parts of a round in order, with the meetings of all clients at its end and between its steps."""
        found = self._parts_of.get(id(steps))
        if found is None:
            parts: list[_Part | None] = []
            for step, jobs in enumerate(steps):
                parts += [None] if step > 0 and self._meetings > 1 else []
                parts += [
                    _Part(job.phase, self._shared.get(job.resource), job.seconds, job.bytes, job.delay_s)
                    for job in jobs
                ]
            parts.append(None)
            backwards_s = [0.0 if part is None else part.seconds + part.delay_s for part in reversed(parts)]
            phases = dict.fromkeys(part.phase for part in parts if part is not None)
            found = self._parts_of[id(steps)] = _Parts(tuple(parts), backwards_s, tuple(phases))
        return found

    def _go_on(self, client: int) -> None:
        """Begin what is next: compute, ask for a resource, or meet the others."""
        place = self._next[client]
        part = self._parts[client][place]
        if part is None:
            self._arrive(client)
            return
        _, shared, seconds, _, _ = part
        if shared is None:
            self._number += 1
            heapq.heappush(self._events, (self._now_s + seconds, self._number, self._by_itself, client))
            return
        self._asked_s[client], self._owed_s[client] = self._now_s, seconds
        wish = self._urgency[client][place], self._rank[client], client
        heapq.heappush(shared.wanted_by, wish)
        if not shared.decides and (shared.served is None or wish < shared.served):
            self._decide_soon(shared)

    def _by_itself(self, client: int) -> None:
        """End a job that waited for nobody: on the device, or on a link of the client's own."""
        part = self._parts[client][self._next[client]]
        assert part is not None
        phase, _, seconds, size, delay_s = part
        spent = self._spent[client][phase]
        spent.seconds += seconds
        spent.bytes += size
        if delay_s > 0:
            self._at(self._now_s + delay_s, self._delivered, client)
            return
        self._next[client] += 1
        self._go_on(client)

    def _decide_soon(self, shared: _Shared) -> None:
        shared.decides = True
        self._number += 1
        # As the simulation does, which adds seconds to its clock.
        wait_s = (self._now_s + self._moment_s) - self._now_s
        heapq.heappush(self._events, (self._now_s + wait_s, self._number, self._decide, shared))

    def _decide(self, shared: _Shared) -> None:
        """Serve the most urgent; another that was served goes on later where it was."""
        shared.decides = False
        wanted_by, before = shared.wanted_by, shared.served
        if not wanted_by or (before is not None and before < wanted_by[0]):
            return
        chosen = heapq.heappop(wanted_by)
        client = chosen[2]
        begins_s = max(shared.free_s if before is None else shared.begun_s, self._asked_s[client])
        if before is not None:
            self._owed_s[before[2]] -= begins_s - shared.begun_s
            heapq.heappush(wanted_by, before)
        shared.served, shared.begun_s = chosen, begins_s
        shared.grants += 1
        self._number += 1
        wait_s = max(0.0, begins_s + self._owed_s[client] - self._now_s)
        heapq.heappush(self._events, (self._now_s + wait_s, self._number, self._ended, (shared, shared.grants)))

    def _ended(self, grant: tuple[_Shared, int]) -> None:
        """End a job, unless another has taken its place since."""
        shared, number = grant
        if number != shared.grants or shared.served is None:
            return
        client, events = shared.served[2], self._events
        # What would be the next event anyhow need not be put among the others first.
        is_next = self._moment_s > 0 and (not events or events[0][0] > self._now_s)
        if not is_next:
            self._at(self._now_s, self._served, client)
        shared.served, shared.free_s = None, self._now_s
        if shared.wanted_by and not shared.decides:
            self._decide_soon(shared)
        if is_next:
            self._served(client)

    def _served(self, client: int) -> None:
        part = self._parts[client][self._next[client]]
        assert part is not None
        phase, _, seconds, size, delay_s = part
        spent = self._spent[client][phase]
        spent.seconds += seconds
        spent.waiting_s += max(0.0, self._now_s - self._asked_s[client] - seconds)
        spent.bytes += size
        if delay_s > 0:
            self._at(self._now_s + delay_s, self._delivered, client)
            return
        self._next[client] += 1
        self._go_on(client)

    def _delivered(self, client: int) -> None:
        part = self._parts[client][self._next[client]]
        assert part is not None
        self._spent[client][Phase.PROPAGATION].seconds += part.delay_s
        self._next[client] += 1
        self._go_on(client)
