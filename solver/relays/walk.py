"""A round of all clients in time: every machine and link direction serves one piece of work at a time, as they arrive.

Work that arrives at the same moment is served in the order of turns, and of the clients where these are equal. Every
client's machines keep their stated order of forward and backward; a step begins when all machines have made the last
one's update. Replicas of a machine have micro-batches in turn, and begin the update when all of them are through.
Before the first step the blocks come down the path, and after the last they go up again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hybridsplit.scenarios.contracts.stages import machine_name
from hybridsplit.solver.chain.order import directions
from hybridsplit.solver.relays.columns import Column, stages_of

_Then = Callable[[float], None]


@dataclass
class _Resource:
    """A machine or a direction of a link: who waits, and whether it is busy."""

    waiting: list[tuple[float, int, int, float, _Then]] = field(default_factory=list)
    is_busy: bool = False


class _Clock:
    """Events in order of time, and the resources that they wait for."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, _Then]] = []
        self._resources: dict[str, _Resource] = {}
        self._touched: dict[str, None] = {}
        self._count = 0

    def at(self, time_s: float, then: _Then) -> None:
        """Do something at a time."""
        self._count += 1
        heapq.heappush(self._events, (time_s, self._count, then))

    def work(self, resource: str, client: int, now_s: float, seconds: float, then: _Then) -> None:
        """Do something once a resource has worked for so long; who comes first is served first."""
        if seconds <= 0:
            then(now_s)
            return
        self._count += 1
        queue = self._resources.setdefault(resource, _Resource())
        heapq.heappush(queue.waiting, (now_s, client, self._count, seconds, then))
        self._touched[resource] = None

    def run(self) -> None:
        """Go on until nothing is left to do."""
        self._serve(0.0)
        while self._events:
            now_s = self._events[0][0]
            while self._events and self._events[0][0] == now_s:
                heapq.heappop(self._events)[2](now_s)
            self._serve(now_s)

    def _serve(self, now_s: float) -> None:
        for name in self._touched:
            queue = self._resources[name]
            if queue.is_busy or not queue.waiting:
                continue
            _, _, _, seconds, then = heapq.heappop(queue.waiting)
            queue.is_busy = True
            self.at(now_s + seconds, self._release(name, queue, then))
        self._touched.clear()

    def _release(self, name: str, queue: _Resource, then: _Then) -> _Then:
        def released(now_s: float) -> None:
            queue.is_busy = False
            self._touched[name] = None
            then(now_s)

        return released


class _Machine:
    """A machine in a step of one client: what it has still to do, in its order."""

    def __init__(self, numbers: Sequence[int], depth: int, *, trains: bool) -> None:
        turns = directions(len(numbers), depth) if trains else iter([True] * len(numbers))
        forward, backward = iter(numbers), iter(numbers)
        self.order = deque((turn, next(forward) if turn else next(backward)) for turn in turns)
        self.is_working = False


class _InTurn:
    """Micro-batches leave a stage in ascending order, whichever of its replicas is done first."""

    def __init__(self) -> None:
        self._next, self._done = 0, set[int]()

    def after(self, number: int) -> Iterator[int]:
        """Return those that leave when one more is done."""
        self._done.add(number)
        while self._next in self._done:
            yield self._next
            self._next += 1


class _Client:
    """One client on its way through a round."""

    def __init__(
        self, clock: _Clock, index: int, place: int, column: Column, depths: Sequence[int], *, trains: bool
    ) -> None:
        self._clock, self._index, self._place, self._column, self._trains = clock, index, place, column, trains
        self._used, self._stages = stages_of(column)
        self._depths = depths
        self._step = 0
        self.end_s = 0.0

    def begin(self) -> None:
        """Take the blocks down the path, then begin the first step."""
        route, cuts = self._column.route, self._column.cuts
        hops = [
            (self._named(route.down_resources[k], k), float(route.exchange_s[k, c, 0]), self._delay(k, c))
            for k, c in reversed(list(enumerate(cuts)))
        ]
        self._travel(iter(hops), 0.0, self._begin_step)

    def _delay(self, k: int, c: int) -> float:
        return float(self._column.route.exchange_delay_s[k, c]) / 2

    def _named(self, resource: str, k: int) -> str:
        """Resources of a client's own have no name that others share."""
        return resource or f"{self._index}:{k}"

    def _travel(self, hops: Iterator[tuple[str, float, float]], now_s: float, then: _Then) -> None:
        hop = next(hops, None)
        if hop is None:
            then(now_s)
            return
        resource, seconds, delay_s = hop

        def crossed(done_s: float) -> None:
            if delay_s > 0:
                self._clock.at(done_s + delay_s, lambda arrived_s: self._travel(hops, arrived_s, then))
            else:
                self._travel(hops, done_s, then)

        self._clock.work(resource, self._place, now_s, seconds, crossed)

    def _begin_step(self, now_s: float) -> None:
        number, last = self._column.route.micro_batches, len(self._stages) - 1
        self._machines = [
            [_Machine(range(j, number, stage.replicas), depth, trains=self._trains) for j in range(stage.replicas)]
            for stage, depth in zip(self._stages, self._depths, strict=True)
        ]
        self._ready = [{True: [k == 0] * number, False: [False] * number} for k in range(last + 1)]
        self._sent = [{True: _InTurn(), False: _InTurn()} for _ in self._stages]
        self._still_running = [len(machines) for machines in self._machines]
        self._unfinished = sum(self._still_running)
        for j in range(len(self._machines[0])):
            self._go_on(0, j, now_s)

    def _go_on(self, k: int, j: int, now_s: float) -> None:
        """Let a machine begin what is next in its order, if that is there."""
        machine, stage = self._machines[k][j], self._stages[k]
        if machine.is_working or not machine.order:
            return
        forward, number = machine.order[0]
        if not self._ready[k][forward][number]:
            return
        machine.is_working = True
        seconds = stage.forward_s if forward else stage.backward_s
        self._clock.work(
            self._machine(k, j), self._place, now_s, seconds,
            lambda done_s: self._done(k, j, number, done_s, forward=forward),
        )  # fmt: skip

    def _machine(self, k: int, j: int) -> str:
        position = self._used[k]
        return machine_name(self._column.route.node_resources[position] or f"{self._index}", j)

    def _done(self, k: int, j: int, number: int, now_s: float, *, forward: bool) -> None:
        machine, last = self._machines[k][j], len(self._stages) - 1
        machine.is_working = False
        machine.order.popleft()
        if forward and k == last and self._trains:
            self._ready[k][False][number] = True
        elif (forward and k < last) or (not forward and k > 0):
            for sent in self._sent[k][forward].after(number):
                self._send(k, sent, now_s, forward=forward)
        if machine.order:
            self._go_on(k, j, now_s)
            return
        self._still_running[k] -= 1
        # The gradients of all replicas are added before any of them is updated.
        for at in range(len(self._machines[k])) if self._still_running[k] == 0 else ():
            self._clock.work(self._machine(k, at), self._place, now_s, self._stages[k].update_s, self._finished)

    def _send(self, k: int, number: int, now_s: float, *, forward: bool) -> None:
        to = k + 1 if forward else k - 1
        hops = self._hops(min(k, to), upwards=forward)
        self._travel(iter(hops), now_s, lambda at_s: self._arrived(to, number, at_s, forward=forward))

    def _arrived(self, k: int, number: int, now_s: float, *, forward: bool) -> None:
        self._ready[k][forward][number] = True
        self._go_on(k, number % self._stages[k].replicas, now_s)

    def _hops(self, k: int, *, upwards: bool) -> list[tuple[str, float, float]]:
        route, first = self._column.route, self._used[k]
        names = route.up_resources if upwards else route.down_resources
        hops = [
            (
                self._named(names[first + j], first + j) + ("" if names[first + j] else " up" * upwards),
                link.up_s if upwards else link.down_s,
                link.up_delay_s if upwards else link.down_delay_s,
            )
            for j, link in enumerate(self._stages[k].links)
        ]
        return hops if upwards else hops[::-1]

    def _finished(self, now_s: float) -> None:
        self._unfinished -= 1
        if self._unfinished:
            return
        self._step += 1
        route, cuts = self._column.route, self._column.cuts
        if self._step < route.steps:
            self._clock.at(now_s, self._begin_step)
            return
        hops = [
            (self._named(route.up_resources[k], k), float(route.exchange_s[k, c, 1]), self._delay(k, c))
            for k, c in enumerate(cuts)
        ]
        self._travel(iter(hops), now_s, self._end)

    def _end(self, now_s: float) -> None:
        self.end_s = now_s


def walk(placed: Sequence[tuple[Column, tuple[int, ...]]], turns: Sequence[int] = (), *, trains: bool) -> list[float]:
    """Return when every client ends.

    Parameters
    ----------
    placed
        Placement and warm-up depths of every client, in order.
    turns
        Whose turn it is of those who arrive at once; all equal when empty.
    trains
        Whether gradients come back.
    """
    clock = _Clock()
    order = sorted(range(len(placed)), key=turns.__getitem__) if turns else range(len(placed))
    places = {index: place for place, index in enumerate(order)}
    clients = [
        _Client(clock, index, places[index], column, depths, trains=trains)
        for index, (column, depths) in enumerate(placed)
    ]
    for client in clients:
        client.begin()
    clock.run()
    return [client.end_s for client in clients]
