"""A round of all clients in time: every machine and link direction serves one piece of work at a time, as they arrive.

Work that arrives at the same moment is served in the order of the clients. Every client's machines keep their stated
order of forward and backward; a step begins when all machines have made the last one's update. Before the first step
the blocks come down the path, and after the last they go up again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

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
            self.at(now_s, then)
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


class _Client:
    """One client on its way through a round."""

    def __init__(self, clock: _Clock, index: int, column: Column, depths: Sequence[int], *, trains: bool) -> None:
        self._clock, self._index, self._column, self._trains = clock, index, column, trains
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
            self._clock.at(now_s, then)
            return
        resource, seconds, delay_s = hop
        self._clock.work(
            resource, self._index, now_s, seconds,
            lambda done_s: self._clock.at(done_s + delay_s, lambda arrived_s: self._travel(hops, arrived_s, then)),
        )  # fmt: skip

    def _begin_step(self, now_s: float) -> None:
        number, last = self._column.route.micro_batches, len(self._stages) - 1
        self._orders = [list(directions(number, depth)) if self._trains else [True] * number for depth in self._depths]
        self._ready = [{True: number if k == 0 else 0, False: 0} for k in range(last + 1)]
        self._begun = [{True: 0, False: 0} for _ in self._stages]
        self._position = [0] * (last + 1)
        self._working = [False] * (last + 1)
        self._unfinished = last + 1
        self._go_on(0, now_s)

    def _go_on(self, k: int, now_s: float) -> None:
        """Let a machine begin what is next in its order, if that is there."""
        if self._working[k] or self._position[k] == len(self._orders[k]):
            return
        forward = self._orders[k][self._position[k]]
        if self._begun[k][forward] == self._ready[k][forward]:
            return
        stage = self._stages[k]
        self._begun[k][forward] += 1
        self._working[k] = True
        seconds = stage.forward_s if forward else stage.backward_s
        self._clock.work(
            self._machine(k), self._index, now_s, seconds, lambda done_s: self._done(k, done_s, forward=forward)
        )

    def _machine(self, k: int) -> str:
        position = self._used[k]
        return self._column.route.node_resources[position] or f"{self._index}"

    def _done(self, k: int, now_s: float, *, forward: bool) -> None:
        self._working[k] = False
        self._position[k] += 1
        last = len(self._stages) - 1
        if forward and k < last:
            self._travel(
                iter(self._hops(k, upwards=True)), now_s, lambda at_s: self._arrived(k + 1, at_s, forward=True)
            )
        elif forward and self._trains:
            self._ready[k][False] += 1
        elif not forward and k > 0:
            hops = self._hops(k - 1, upwards=False)
            self._travel(iter(hops), now_s, lambda at_s: self._arrived(k - 1, at_s, forward=False))
        if self._position[k] < len(self._orders[k]):
            self._go_on(k, now_s)
        else:
            self._clock.work(self._machine(k), self._index, now_s, self._stages[k].update_s, self._finished)

    def _arrived(self, k: int, now_s: float, *, forward: bool) -> None:
        self._ready[k][forward] += 1
        self._go_on(k, now_s)

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


def walk(placed: Sequence[tuple[Column, tuple[int, ...]]], *, trains: bool) -> list[float]:
    """Return when every client ends.

    Parameters
    ----------
    placed
        Placement and warm-up depths of every client, in order.
    trains
        Whether gradients come back.
    """
    clock = _Clock()
    clients = [_Client(clock, index, column, depths, trains=trains) for index, (column, depths) in enumerate(placed)]
    for client in clients:
        client.begin()
    clock.run()
    return [client.end_s for client in clients]
