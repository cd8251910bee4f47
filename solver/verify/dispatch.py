"""Who waits how long where clients are served by priority: the plan's round walked through once more, in plain Python.

Shares no code with the planner's walk.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hybridsplit.scenarios.contracts.jobs import SHARED
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import SIMULTANEOUS, Dispatch, urgency_key
from hybridsplit.solver.verify.durations import Timed

Waits = dict[tuple[str, Phase], float]


def dispatch_waits(
    jobs: Mapping[str, list[Timed]], schedule: Dispatch, round_latency_s: float, *, synchronise: bool
) -> Waits:
    """Return who waits how long, by client and phase.

    Parameters
    ----------
    jobs
        The jobs of every client's round, in order.
    schedule
        The order and the urgency of the clients.
    round_latency_s
        The plan's, of which a small fraction counts as no time.
    synchronise
        Whether all clients wait for the slowest between two steps.
    """
    walk = _Walk(jobs, schedule, SIMULTANEOUS * round_latency_s)
    steps = {timed.job.step for own in jobs.values() for timed in own} if synchronise else {0}
    for step in sorted(steps):
        walk.go(step if synchronise else None)
        if synchronise and step < max(steps):
            walk.meet()
    return walk.waits


@dataclass
class _Shared:
    """A shared resource: who wants it, by urgency, and who has it since when."""

    wanted_by: list[tuple[float, int]] = field(default_factory=list)
    served: tuple[float, int] | None = None
    since_s: float = 0.0
    end_s: float = math.inf
    """When what is served is done; infinity where nothing is."""
    free_s: float = 0.0


class _Walk:
    def __init__(self, jobs: Mapping[str, list[Timed]], schedule: Dispatch, tolerance_s: float) -> None:
        self._names = schedule.order
        self._jobs = [jobs[name] for name in schedule.order]
        self._left_s = [
            list(_left_s(own, urgency_s)) for own, urgency_s in zip(self._jobs, schedule.urgency_s, strict=True)
        ]
        number = len(self._names)
        self._next, self._now_s = [0] * number, [0.0] * number
        self._asked_s, self._owed_s = [0.0] * number, [0.0] * number
        self._tolerance_s = tolerance_s
        self._shared = {resource: _Shared() for resource in SHARED}
        self._first, *self._others = self._shared.values()
        self._arrivals: list[tuple[float, int]] = []
        self.waits: Waits = {}

    def meet(self) -> None:
        """Let everybody wait for the last."""
        last_s = max(self._now_s)
        for client, name in enumerate(self._names):
            self._wait(name, Phase.BARRIER, last_s - self._now_s[client])
            self._now_s[client] = last_s

    def go(self, step: int | None) -> None:
        """Serve all jobs of a step; of the whole round when None."""
        for client in range(len(self._names)):
            self._advance(client, step)
        while (next_s := min(self._next_end().end_s, self._next_arrival_s())) < math.inf:
            self._until(next_s + self._tolerance_s, step)
            for shared in self._shared.values():
                self._give(shared)

    def _next_end(self) -> _Shared:
        first = self._first
        for shared in self._others:
            if shared.end_s < first.end_s:
                first = shared
        return first

    def _next_arrival_s(self) -> float:
        return self._arrivals[0][0] if self._arrivals else math.inf

    def _until(self, moment_s: float, step: int | None) -> None:
        """Let jobs end and clients ask, in the order of time."""
        while True:
            ending = self._next_end()
            end_s, arrival_s = ending.end_s, self._next_arrival_s()
            if end_s > moment_s and arrival_s > moment_s:
                return
            if arrival_s <= end_s:
                _, client = heapq.heappop(self._arrivals)
                timed = self._jobs[client][self._next[client]]
                self._asked_s[client], self._owed_s[client] = arrival_s, timed.seconds
                left_s = self._left_s[client][self._next[client]]
                bisect.insort(self._shared[timed.job.resource].wanted_by, (-left_s, client))
                continue
            assert ending.served is not None
            client = ending.served[1]
            ending.served, ending.end_s, ending.free_s = None, math.inf, end_s
            timed = self._jobs[client][self._next[client]]
            self._wait(self._names[client], timed.job.phase, end_s - self._asked_s[client] - timed.seconds)
            self._now_s[client] = end_s + timed.delay_s
            self._next[client] += 1
            self._advance(client, step)

    def _advance(self, client: int, step: int | None) -> None:
        """Let a client compute until it asks for a shared resource, or has done its part."""
        own = self._jobs[client]
        while self._next[client] < len(own) and step in (None, own[self._next[client]].job.step):
            timed = own[self._next[client]]
            if timed.job.resource in SHARED:
                heapq.heappush(self._arrivals, (self._now_s[client], client))
                return
            self._now_s[client] += timed.seconds + timed.delay_s
            self._next[client] += 1

    def _give(self, shared: _Shared) -> None:
        """Serve the most urgent; another that was served goes on later."""
        if not shared.wanted_by or (shared.served is not None and shared.served < shared.wanted_by[0]):
            return
        chosen = shared.wanted_by.pop(0)
        begins_s = max(self._asked_s[chosen[1]], shared.free_s)
        if shared.served is not None:
            begins_s = max(self._asked_s[chosen[1]], shared.since_s)
            self._owed_s[shared.served[1]] -= begins_s - shared.since_s
            bisect.insort(shared.wanted_by, shared.served)
        shared.served, shared.since_s = chosen, begins_s
        shared.end_s = begins_s + self._owed_s[chosen[1]]

    def _wait(self, name: str, phase: Phase, seconds: float) -> None:
        self.waits[name, phase] = self.waits.get((name, phase), 0.0) + seconds


def _left_s(jobs: list[Timed], urgency_s: float) -> Iterator[float]:
    left_s: list[float] = []
    total_s = urgency_s
    for timed in reversed(jobs):
        total_s += timed.seconds + timed.delay_s
        left_s.append(urgency_key(total_s))
    yield from reversed(left_s)
