"""Play a plan over relays: a process a machine of every client, and one a message.

Machines and link directions serve in order of arrival, and who arrives at once in the order of their turns. Nothing
here is shared with the planner but the plan, so that agreement proves something: a client that nobody disturbs must
take what the plan says, and no other may take less than the plan's bound.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from hybridsplit.runtime.relays.order import forward_turns
from hybridsplit.runtime.replay_relays.server import InOrderOfArrival
from hybridsplit.runtime.replay_relays.work import ClientWork, Leg, Machine, work_of
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.contracts.stages import machine_name

_Process = Generator[simpy.Event, Any, None]
MOST_INTERVALS = 50_000


class Interval(NamedTuple):
    """A piece of work in time.

    Parameters
    ----------
    resource, client, kind
        Who did what for whom: ``forward``, ``backward``, ``update``, ``up``, ``down`` or ``exchange``.
    micro_batch
        Of which micro-batch, from 0.
    start_s, end_s
        From when to when.
    """

    resource: str
    client: str
    kind: str
    micro_batch: int
    start_s: float
    end_s: float


class Spent(NamedTuple):
    """What a client had of a machine or a link in a round, for one kind of work.

    Parameters
    ----------
    client, place
        For whom, and the machine or the two ends of the link.
    kind
        ``forward``, ``backward``, ``update``, ``up``, ``down``, ``exchange-up`` or ``exchange-down``.
    seconds, waiting_s, delay_s
        Time being served, time in its queue, and time on the way.
    size_bytes
        What crossed.
    """

    client: str
    place: str
    kind: str
    seconds: float
    waiting_s: float
    delay_s: float
    size_bytes: int


@dataclass(frozen=True)
class PlayedRelays:
    """What a replay found.

    Parameters
    ----------
    rounds
        Rounds, or batches of a stream.
    value_s
        Seconds of a round, or the period of the stream.
    ends_s
        End of every client in the last round, from its start.
    busy_s
        Seconds that each machine and link direction worked, in all.
    intervals
        What was done in the first round, up to a number of pieces.
    spent
        The same in sums, whole: of every client at every place, by kind of work.
    """

    rounds: int
    value_s: float
    ends_s: dict[str, float]
    busy_s: dict[str, float]
    intervals: tuple[Interval, ...]
    spent: tuple[Spent, ...]


def play_relays(plan: RelayPlan, rounds: int = 1, clients: Collection[str] | None = None) -> PlayedRelays:
    """Play a plan.

    Parameters
    ----------
    plan
        The plan.
    rounds
        Rounds one after another; for a period, batches of every client that stream through.
    clients
        Those who take part; all when None.
    """
    streams = plan.objective == "inference-period"
    works = work_of(plan, rounds if streams else 1)
    present = [work for work in works if clients is None or work.client in clients]
    return play_works(present, rounds, streams=streams)


def play_works(works: Sequence[ClientWork], rounds: int, *, streams: bool) -> PlayedRelays:
    """Play the work of clients.

    Parameters
    ----------
    works
        Work of every client; that of all batches where they stream through.
    rounds
        Rounds one after another, or batches of a stream.
    streams
        Whether batches stream through without a pause.
    """
    play = _Play(works)
    total_s = 0.0
    ends: dict[str, float] = {}
    for number in range(1 if streams else rounds):
        ends = play.round(keeps=number == 0)
        total_s += max(ends.values())
    spent = tuple(Spent(*place, one[0], one[1], one[2], one[3]) for place, one in play.spent.items())
    return PlayedRelays(rounds, total_s / rounds, ends, play.busy_s, tuple(play.intervals), spent)


class _Play:
    """Rounds of all clients."""

    def __init__(self, works: Sequence[ClientWork]) -> None:
        self._works = works
        in_turn = sorted(self._works, key=lambda work: work.turn)
        self._positions = {work.client: position for position, work in enumerate(in_turn)}
        self.busy_s: dict[str, float] = {}
        self.intervals: list[Interval] = []
        self.spent: dict[tuple[str, str, str], tuple[float, float, float, int]] = {}
        self._keeps = False

    def round(self, *, keeps: bool) -> dict[str, float]:
        """Play a round from its start; return when every client ended."""
        self._environment = simpy.Environment()
        self._resources: dict[str, InOrderOfArrival] = {}
        self._keeps = keeps
        ends: dict[str, float] = {}
        for work in self._works:
            self._environment.process(self._client(work, ends))
        self._environment.run()
        return ends

    def _client(self, work: ClientWork, ends: dict[str, float]) -> _Process:
        for leg in reversed(work.exchange_down):
            yield from self._carry(work, leg, "exchange-down", 0)
        for _ in range(work.steps):
            boxes = _Boxes(self._environment, work)
            machines = [self._environment.process(self._machine(work, boxes, k)) for k in range(len(work.machines))]
            yield self._environment.all_of(machines)
        for leg in work.exchange_up:
            yield from self._carry(work, leg, "exchange-up", 0)
        ends[work.client] = self._environment.now

    def _machine(self, work: ClientWork, boxes: _Boxes, k: int) -> _Process:
        """Run the micro-batches of a step on all replicas of machine k, then add up gradients and update."""
        machine = work.machines[k]
        if machine.replicas == 1:
            yield from self._passes(work, boxes, k, 0)
            yield from self._update(work, machine, 0)
            return
        environment, replicas = self._environment, range(machine.replicas)
        yield environment.all_of([environment.process(self._passes(work, boxes, k, at)) for at in replicas])
        yield environment.all_of([environment.process(self._update(work, machine, at)) for at in replicas])

    def _passes(self, work: ClientWork, boxes: _Boxes, k: int, replica: int) -> _Process:
        machine, last = work.machines[k], len(work.machines) - 1
        own = range(replica, work.micro_batches, machine.replicas)
        depth = min(machine.warm_up, len(own))
        turns = forward_turns(depth, len(own)) if work.trains else [True] * len(own)
        numbers = {True: iter(own), False: iter(own)}
        name = machine_name(machine.resource, replica)
        for forward in turns:
            number = next(numbers[forward])
            yield boxes.of(k, replica, forward=forward).get()
            kind, seconds = ("forward", machine.forward_s) if forward else ("backward", machine.backward_s)
            yield from self._busy(name, name, work.client, kind, number, seconds)
            if forward and k == last:
                boxes.of(k, replica, forward=False).put(number)
            elif forward or k > 0:
                for leaving in boxes.leaving(k, number, forward=forward):
                    to = k + 1 if forward else k - 1
                    self._environment.process(self._message(work, boxes, to, leaving, forward=forward))

    def _update(self, work: ClientWork, machine: Machine, replica: int) -> _Process:
        name, seconds = machine_name(machine.resource, replica), machine.reduce_s + machine.update_s
        yield from self._busy(name, name, work.client, "update", 0, seconds)

    def _message(self, work: ClientWork, boxes: _Boxes, k: int, number: int, *, forward: bool) -> _Process:
        """Carry a micro-batch to machine k."""
        legs = work.up[k - 1] if forward else work.down[k][::-1]
        for leg in legs:
            yield from self._carry(work, leg, "up" if forward else "down", number)
        boxes.of(k, number % work.machines[k].replicas, forward=forward).put(number)

    def _carry(self, work: ClientWork, leg: Leg, kind: str, number: int) -> _Process:
        yield from self._busy(leg.resource, leg.link, work.client, kind, number, leg.seconds)
        self._spend(work.client, leg.link, kind, delay_s=leg.delay_s, size_bytes=leg.size_bytes)
        if leg.delay_s > 0:
            yield self._environment.timeout(leg.delay_s)

    def _spend(
        self, client: str, place: str, kind: str, *, seconds: float = 0.0, waiting_s: float = 0.0, delay_s: float = 0.0,
        size_bytes: int = 0,
    ) -> None:  # fmt: skip
        if self._keeps:
            before = self.spent.get((client, place, kind), (0.0, 0.0, 0.0, 0))
            more = seconds, waiting_s, delay_s
            sums = [one + other for one, other in zip(before, more, strict=False)]
            self.spent[client, place, kind] = sums[0], sums[1], sums[2], before[3] + size_bytes

    def _busy(self, resource: str, place: str, client: str, kind: str, number: int, seconds: float) -> _Process:
        if seconds <= 0:
            return
        arrival = self._environment.now
        queue = self._resources.setdefault(resource, InOrderOfArrival(self._environment))
        yield queue.turn(self._positions[client])
        start = self._environment.now
        self._spend(client, place, kind, seconds=seconds, waiting_s=start - arrival)
        yield self._environment.timeout(seconds)
        queue.release()
        self.busy_s[resource] = self.busy_s.get(resource, 0.0) + seconds
        if self._keeps and len(self.intervals) < MOST_INTERVALS:
            shown = kind.partition("-")[0]
            self.intervals.append(Interval(resource, client, shown, number, start, self._environment.now))


class _Boxes:
    """What has arrived at every machine of a client in a step, by direction, and what has left it."""

    def __init__(self, environment: simpy.Environment, work: ClientWork) -> None:
        self._stores = [
            [{forward: simpy.Store(environment) for forward in (True, False)} for _ in range(machine.replicas)]
            for machine in work.machines
        ]
        self._done: dict[tuple[int, bool], set[int]] = {}
        self._left: dict[tuple[int, bool], int] = {}
        for number in range(work.micro_batches):
            self.of(0, 0, forward=True).put(number)

    def of(self, k: int, replica: int, *, forward: bool) -> simpy.Store:
        """Return the box of a machine for what comes from below, or back from above."""
        return self._stores[k][replica][forward]

    def leaving(self, k: int, number: int, *, forward: bool) -> list[int]:
        """Return what leaves when a micro-batch is done: links carry them in ascending order."""
        done = self._done.setdefault((k, forward), set())
        done.add(number)
        first = stop = self._left.get((k, forward), 0)
        while stop in done:
            stop += 1
        self._left[k, forward] = stop
        return list(range(first, stop))
