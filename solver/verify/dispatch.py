"""Who waits how long where clients are served by priority: the plan's round walked through once more, in plain Python.

Shares no code with the planner's walk.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hybridsplit.scenarios.contracts.jobs import SHARED
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import SIMULTANEOUS, Dispatch, urgency_key
from hybridsplit.solver.verify.durations import Timed

Waits = dict[tuple[str, Phase], float]
_Arrival = tuple[float, int, "_Ask"]
"""When a client asks, which, and for what."""


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


class _Ask(NamedTuple):
    """A job on a shared resource.

    Parameters
    ----------
    phase, resource
        What it is, and the place of its resource among those that are shared.
    seconds
        How long it has the resource.
    then_s
        Seconds from its end until the client asks again, or is done: on the way, and on its device.
    job
        Its place among the client's jobs.
    """

    phase: Phase
    resource: int
    seconds: float
    then_s: float
    job: int


class _Part(NamedTuple):
    """The jobs of a step, or of the round: seconds until the first that needs a shared resource, and those."""

    first_s: float
    asks: tuple[_Ask, ...]


def _part(jobs: list[Timed], step: int | None) -> _Part:
    alone_s: list[float] = [0.0]
    asks: list[_Ask] = []
    for place, (job, seconds, delay_s) in enumerate(jobs):
        if step not in (None, job.step):
            continue
        if job.resource not in SHARED:
            alone_s[-1] += seconds + delay_s
        else:
            asks.append(_Ask(job.phase, SHARED.index(job.resource), seconds, 0.0, place))
            alone_s.append(delay_s)
    first_s, *then_s = alone_s
    return _Part(first_s, tuple(ask._replace(then_s=after) for ask, after in zip(asks, then_s, strict=True)))


class _Walk:
    def __init__(self, jobs: Mapping[str, list[Timed]], schedule: Dispatch, tolerance_s: float) -> None:
        self._names = schedule.order
        self._jobs = [jobs[name] for name in schedule.order]
        self._left_s = [_left_s(own, urgency) for own, urgency in zip(self._jobs, schedule.urgency_s, strict=True)]
        self._tolerance_s = tolerance_s
        number, shared = len(self._names), len(SHARED)
        self._now_s, self._asked_s, self._owed_s = [0.0] * number, [0.0] * number, [0.0] * number
        self._asking: dict[int, _Ask] = {}
        self._wanted_by: list[list[tuple[float, int]]] = [[] for _ in SHARED]
        """Of each shared resource, who waits for it, the most urgent first."""
        self._served: list[tuple[float, int] | None] = [None] * shared
        self._since_s, self._free_s = [0.0] * shared, [0.0] * shared
        self._ends_s = [math.inf] * shared
        """When what each serves is done; infinity where nothing is."""
        self.waits: Waits = {}

    def meet(self) -> None:
        """Let everybody wait for the last."""
        last_s = max(self._now_s)
        for client, name in enumerate(self._names):
            self._wait(name, Phase.BARRIER, last_s - self._now_s[client])
            self._now_s[client] = last_s

    def go(self, step: int | None) -> None:
        """Serve all jobs of a step; of the whole round when None."""
        parts = {id(own): _part(own, step) for own in {id(own): own for own in self._jobs}.values()}
        asks: list[Iterator[_Ask]] = []
        arrivals: list[_Arrival] = []
        for client, own in enumerate(self._jobs):
            first_s, of_part = parts[id(own)]
            asks.append(iter(of_part))
            self._now_s[client] += first_s
            if (ask := next(asks[client], None)) is not None:
                arrivals.append((self._now_s[client], client, ask))
        heapq.heapify(arrivals)
        while (next_s := min(*self._ends_s, arrivals[0][0] if arrivals else math.inf)) < math.inf:
            for resource in self._until(next_s + self._tolerance_s, arrivals, asks):
                self._give(resource)

    def _until(self, moment_s: float, arrivals: list[_Arrival], asks: list[Iterator[_Ask]]) -> set[int]:
        """Let jobs end and clients ask, in the order of time; return the resources where that was."""
        ends_s, wanted_by = self._ends_s, self._wanted_by
        changed: set[int] = set()
        while True:
            end_s = min(ends_s)
            if arrivals and arrivals[0][0] <= end_s:
                if arrivals[0][0] > moment_s:
                    return changed
                arrival_s, client, ask = heapq.heappop(arrivals)
                resource = ask.resource
                self._asked_s[client], self._owed_s[client] = arrival_s, ask.seconds
                self._asking[client] = ask
                heapq.heappush(wanted_by[resource], (-self._left_s[client][ask.job], client))
            elif end_s > moment_s:
                return changed
            else:
                resource = ends_s.index(end_s)
                client = self._end(resource, end_s)
                if (following := next(asks[client], None)) is not None:
                    heapq.heappush(arrivals, (self._now_s[client], client, following))
            changed.add(resource)

    def _end(self, resource: int, end_s: float) -> int:
        """End the job that a resource serves, and return whose it was."""
        served = self._served[resource]
        assert served is not None
        client = served[1]
        ask = self._asking[client]
        self._served[resource], self._ends_s[resource], self._free_s[resource] = None, math.inf, end_s
        self._wait(self._names[client], ask.phase, end_s - self._asked_s[client] - ask.seconds)
        self._now_s[client] = end_s + ask.then_s
        return client

    def _give(self, resource: int) -> None:
        """Serve the most urgent; another that was served goes on later."""
        wanted_by, before = self._wanted_by[resource], self._served[resource]
        if not wanted_by or (before is not None and before < wanted_by[0]):
            return
        chosen = heapq.heappop(wanted_by)
        client = chosen[1]
        begins_s = max(self._asked_s[client], self._free_s[resource])
        if before is not None:
            begins_s = max(self._asked_s[client], self._since_s[resource])
            self._owed_s[before[1]] -= begins_s - self._since_s[resource]
            heapq.heappush(wanted_by, before)
        self._served[resource], self._since_s[resource] = chosen, begins_s
        self._ends_s[resource] = begins_s + self._owed_s[client]

    def _wait(self, name: str, phase: Phase, seconds: float) -> None:
        self.waits[name, phase] = self.waits.get((name, phase), 0.0) + seconds


def _left_s(jobs: list[Timed], urgency_s: float) -> list[float]:
    """Return the seconds that are left before each job, the urgency added."""
    backwards_s = itertools.accumulate((timed.seconds + timed.delay_s for timed in reversed(jobs)), initial=urgency_s)
    return [urgency_key(total_s) for total_s in backwards_s][:0:-1]
