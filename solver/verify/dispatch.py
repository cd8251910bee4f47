"""Who waits how long where clients are served by priority: the plan's round walked through once more, in plain Python.

Shares no code with the planner's walk.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterator, Mapping

from hybridsplit.scenarios.contracts.jobs import Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import SIMULTANEOUS, Dispatch
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


class _Walk:
    def __init__(self, jobs: Mapping[str, list[Timed]], schedule: Dispatch, tolerance_s: float) -> None:
        self._names = schedule.order
        self._jobs = [jobs[name] for name in schedule.order]
        self._left_s = [
            list(_left_s(own, urgency)) for own, urgency in zip(self._jobs, schedule.urgency_s, strict=True)
        ]
        self._next = [0] * len(self._names)
        self._now_s = [0.0] * len(self._names)
        self._tolerance_s = tolerance_s
        self.waits: Waits = {}

    def meet(self) -> None:
        """Let everybody wait for the last."""
        last_s = max(self._now_s)
        for client, name in enumerate(self._names):
            self._wait(name, Phase.BARRIER, last_s - self._now_s[client])
            self._now_s[client] = last_s

    def go(self, step: int | None) -> None:
        """Serve all jobs of a step; of the whole round when None."""
        arrivals: list[tuple[float, int]] = []
        queues: dict[Resource, list[tuple[float, int]]] = {}
        free_at_s: dict[Resource, float] = {}
        asked_s: dict[int, float] = {}
        opened_s: dict[Resource, float] = {}

        def advance(client: int) -> None:
            while (at := self._next[client]) < len(self._jobs[client]):
                timed = self._jobs[client][at]
                if step is not None and timed.job.step != step:
                    return
                if timed.job.resource is not Resource.DEVICE:
                    heapq.heappush(arrivals, (self._now_s[client], client))
                    return
                self._now_s[client] += timed.seconds
                self._next[client] += 1

        for client in range(len(self._names)):
            advance(client)
        while arrivals or any(queues.values()):
            resource, decides_s = self._next_decision(arrivals, queues, opened_s)
            while arrivals and arrivals[0][0] <= decides_s:
                at_s, client = heapq.heappop(arrivals)
                asked_s[client] = at_s
                wanted = self._jobs[client][self._next[client]].job.resource
                queue = queues.setdefault(wanted, [])
                if not queue:
                    opened_s[wanted] = max(at_s, free_at_s.get(wanted, 0.0))
                bisect.insort(queue, (-self._left_s[client][self._next[client]], client))
            if resource is None:
                continue
            client = queues[resource].pop(0)[1]
            timed = self._jobs[client][self._next[client]]
            start_s = max(asked_s[client], free_at_s.get(resource, 0.0))
            self._wait(self._names[client], timed.job.phase, start_s - asked_s[client])
            free_at_s[resource] = opened_s[resource] = start_s + timed.seconds
            self._now_s[client] = start_s + timed.seconds + timed.delay_s
            self._next[client] += 1
            advance(client)

    def _next_decision(
        self,
        arrivals: list[tuple[float, int]],
        queues: Mapping[Resource, list[tuple[float, int]]],
        opened_s: Mapping[Resource, float],
    ) -> tuple[Resource | None, float]:
        """Return the next resource to decide, and until when requests count; None where an arrival comes first."""
        waited_for = [resource for resource, queue in queues.items() if queue]
        first = min(waited_for, key=lambda resource: opened_s[resource]) if waited_for else None
        arrival_s = arrivals[0][0] if arrivals else float("inf")
        if first is not None and opened_s[first] + self._tolerance_s < arrival_s:
            return first, opened_s[first] + self._tolerance_s
        return None, arrival_s

    def _wait(self, name: str, phase: Phase, seconds: float) -> None:
        self.waits[name, phase] = self.waits.get((name, phase), 0.0) + seconds


def _left_s(jobs: list[Timed], urgency_s: float) -> Iterator[float]:
    total_s = urgency_s + sum(timed.seconds + timed.delay_s for timed in jobs)
    for timed in jobs:
        yield total_s
        total_s -= timed.seconds + timed.delay_s
