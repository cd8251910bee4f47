"""A client's round as jobs: what each takes, at which machine or direction of a link, and which jobs it waits for.

Machines keep their stated order of forward and backward; a step begins when all machines have made the last one's
update. Replicas of a machine have micro-batches in turn, and begin the update when all of them are through. Before the
first step the blocks come down the path, and after the last they go up again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hybridsplit.scenarios.contracts.stages import machine_name
from hybridsplit.solver.chain.order import directions
from hybridsplit.solver.relays.columns import Column, stages_of

OWN = ":"
"""What names of resources that no other client shares begin with."""
NOWHERE = -1
"""The resource of jobs that take no time."""


@dataclass
class Jobs:
    """Jobs of a client, in an order in which none comes before one that it waits for at the same resource.

    Parameters
    ----------
    names
        Machines and directions of links that are used; those that no other client shares begin with a colon.
    seconds, delay_s
        How long each job takes, and how long what it sends is on its way.
    resource
        The place of each job's resource in ``names``; ``NOWHERE`` where it takes no time.
    waits
        For how many jobs each waits.
    behind
        The jobs that wait for each.
    """

    names: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    delay_s: list[float] = field(default_factory=list)
    resource: list[int] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    behind: list[list[int]] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, seconds: float, after: Sequence[int], delay_s: float = 0.0) -> int:
        """Add a job that waits for others; return its number."""
        number = len(self.seconds)
        place = NOWHERE
        if seconds > 0:
            place = self._places.setdefault(name, len(self.names))
            if place == len(self.names):
                self.names.append(name)
        self.resource.append(place)
        self.seconds.append(max(seconds, 0.0))
        self.delay_s.append(delay_s)
        self.behind.append([])
        self.waits.append(0)
        for other in after:
            self.let_wait(number, other)
        return number

    def let_wait(self, job: int, other: int) -> None:
        """Let a job wait for another too."""
        self.waits[job] += 1
        self.behind[other].append(job)


def jobs_of(column: Column, depths: Sequence[int], *, trains: bool) -> Jobs:
    """Return the jobs of a client's round; the first begins the round, and the last ends it.

    Parameters
    ----------
    column, depths
        Its placement, and the warm-up depths of its machines.
    trains
        Whether gradients come back.
    """
    jobs, route, cuts = Jobs(), column.route, column.cuts
    last = jobs.add("", 0.0, ())
    for k, c in reversed(list(enumerate(cuts))):
        delay_s = float(route.exchange_delay_s[k, c]) / 2
        last = jobs.add(_link(route.down_resources[k], k, "down"), float(route.exchange_s[k, c, 0]), [last], delay_s)
    for _ in range(route.steps):
        last = _Step(jobs, column, depths, last, trains=trains).end
    for k, c in enumerate(cuts):
        delay_s = float(route.exchange_delay_s[k, c]) / 2
        last = jobs.add(_link(route.up_resources[k], k, "up"), float(route.exchange_s[k, c, 1]), [last], delay_s)
    jobs.add("", 0.0, [last])
    return jobs


def _link(resource: str, k: int, direction: str) -> str:
    """Name a direction of a link; a client's own has no name that others share."""
    return resource or f"{OWN}{k} {direction}"


class _Step:
    """The jobs of a step, behind one that begins it."""

    def __init__(self, jobs: Jobs, column: Column, depths: Sequence[int], begin: int, *, trains: bool) -> None:
        self._jobs, self._column = jobs, column
        self._used, self._stages = stages_of(column)
        self._passes: list[dict[tuple[bool, int], int]] = [{} for _ in self._stages]
        updates = [self._machines(k, depths[k], begin, trains=trains) for k in range(len(self._stages))]
        for k in range(len(self._stages) - 1):
            self._messages(k, k + 1, forward=True)
            if trains:
                self._messages(k + 1, k, forward=False)
        if trains:
            for n in range(column.route.micro_batches):
                jobs.let_wait(self._passes[-1][False, n], self._passes[-1][True, n])
        self.end = jobs.add("", 0.0, [update for stage in updates for update in stage])

    def _machines(self, k: int, depth: int, begin: int, *, trains: bool) -> list[int]:
        """Add what the replicas of a machine do, each in its order; return their updates, behind all of them."""
        jobs, stage, number = self._jobs, self._stages[k], self._column.route.micro_batches
        name = self._column.route.node_resources[self._used[k]]
        through = []
        for replica in range(stage.replicas):
            own, last = range(replica, number, stage.replicas), [begin] if k == 0 else []
            turns = directions(len(own), depth) if trains else [True] * len(own)
            numbers = {True: iter(own), False: iter(own)}
            for forward in turns:
                seconds = stage.forward_s if forward else stage.backward_s
                job = jobs.add(machine_name(name or OWN, replica), seconds, last)
                self._passes[k][forward, next(numbers[forward])], last = job, [job]
            through += last
        return [
            jobs.add(machine_name(name or OWN, replica), stage.update_s, through) for replica in range(stage.replicas)
        ]

    def _messages(self, k: int, to: int, *, forward: bool) -> None:
        """Send micro-batches in ascending order, whichever of the replicas is done first."""
        jobs, first = self._jobs, self._used[min(k, to)]
        names = self._column.route.up_resources if forward else self._column.route.down_resources
        hops = [
            (
                _link(names[first + j], first + j, "up" if forward else "down"),
                link.up_s if forward else link.down_s,
                link.up_delay_s if forward else link.down_delay_s,
            )
            for j, link in enumerate(self._stages[min(k, to)].links)
        ]
        left: list[int] = []
        for n in range(self._column.route.micro_batches):
            last = self._passes[k][forward, n]
            if self._stages[k].replicas > 1:
                left = [jobs.add("", 0.0, [last, *left])]
                last = left[0]
            for name, seconds, delay_s in hops if forward else hops[::-1]:
                last = jobs.add(name, seconds, [last], delay_s)
            jobs.let_wait(self._passes[to][forward, n], last)
