"""What is planned, and what placements of all clients are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.chain.order import step_seconds, warm_ups_of
from hybridsplit.solver.relays.columns import Column, burst_seconds, round_seconds, stages_of
from hybridsplit.solver.relays.routes import Route
from hybridsplit.solver.relays.walk import Walker

Placed = list[tuple[Column, tuple[int, ...]]]
"""Placement and warm-up depths of every client, in order."""
PERIOD = "inference-period"
_EQUAL = 1e-9


@dataclass
class Task:
    """What is planned.

    Parameters
    ----------
    scenario, costs
        The scenario, and what blocks cost.
    routes
        Routes of all groups.
    deadline
        Moment of the monotonic clock to end at.
    """

    scenario: RelayScenario
    costs: RelayCosts
    routes: tuple[Route, ...]
    deadline: float
    _values: dict[tuple[object, ...], float] = field(default_factory=dict)
    _alone: dict[tuple[object, ...], tuple[tuple[int, ...], float]] = field(default_factory=dict)
    _unlimited: dict[tuple[object, ...], tuple[tuple[int, ...], float]] = field(default_factory=dict)
    _walker: Walker | None = None
    _deepest: dict[tuple[object, ...], tuple[int, ...]] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether clients train."""
        return self.scenario.trains

    @property
    def groups(self) -> list[str]:
        """The group of every client, in order."""
        return [client.group for client in self.scenario.expanded_clients()]

    @property
    def memory_bytes(self) -> dict[str, float]:
        """Memory of the nodes where it is limited."""
        nodes = self.scenario.network.nodes
        return {one.node: float(one.memory_bytes) for one in nodes if one.memory_bytes is not None}

    def value_s(self, placed: Placed, turns: Sequence[int] = ()) -> float:
        """Return what the objective minimises.

        Parameters
        ----------
        placed, turns
            Placements, and whose turn it is of those who arrive at once; all equal when empty.
        """
        if self.scenario.objective.minimise == PERIOD:
            counts: dict[str, float] = {}
            for column, _ in placed:
                for name, seconds in column.busy_s.items():
                    counts[name] = counts.get(name, 0.0) + seconds
            return max([*counts.values(), *(column.own_s for column, _ in placed)])
        key = tuple((column.key, column.route.steps, depths) for column, depths in placed), tuple(turns)
        if key not in self._values:
            self._walker = self._walker or Walker(trains=self.trains)
            self._values[key] = max(self._walker.ends_s(placed, turns))
        return self._values[key]

    def alone_s(self, column: Column) -> float:
        """Return the seconds of a client with nobody else, or the period of a stream of its batches."""
        if self.scenario.objective.minimise == PERIOD:
            return max([column.own_s, *column.busy_s.values()])
        return self.depths(column)[1]

    def depths(self, column: Column, room_bytes: Mapping[str, float] | None = None) -> tuple[tuple[int, ...], float]:
        """Return warm-up depths of a client's machines, and the seconds of its round with nobody else.

        Parameters
        ----------
        column
            Its placement.
        room_bytes
            Memory of nodes that is left for further micro-batches in flight; all of it when None.
        """
        if room_bytes is None and column.key in self._unlimited:
            return self._unlimited[column.key]
        found = self._depths_within(column, room_bytes)
        if room_bytes is None:
            self._unlimited[column.key] = found
        return found

    def _depths_within(self, column: Column, room_bytes: Mapping[str, float] | None) -> tuple[tuple[int, ...], float]:
        used, stages = stages_of(column, room_bytes)
        if not self.trains:
            return (1,) * len(used), burst_seconds(column)
        key = column.key, tuple(stage.most_warm_up for stage in stages)
        if key not in self._alone:
            pipeline = self.scenario.training.pipeline
            found, seconds = warm_ups_of(pipeline, stages, column.route.micro_batches)
            self._alone[key] = found, round_seconds(column, seconds)
        return self._alone[key]

    def deepest(self, column: Column, depths: tuple[int, ...]) -> tuple[int, ...]:
        """Return warm-up depths with the deepest of a client's own device that makes no round longer alone.

        Parameters
        ----------
        column, depths
            Its placement, and the depths of its machines.
        """
        if not self.trains or self.scenario.training.pipeline != "best":
            return depths
        key = column.key, depths
        if key not in self._deepest:
            number, (_, stages) = column.route.micro_batches, stages_of(column)
            longest_s = step_seconds(stages, depths, number) * (1 + _EQUAL)
            deeper = ((first, *depths[1:]) for first in range(stages[0].most_warm_up, depths[0], -1))
            self._deepest[key] = next((d for d in deeper if step_seconds(stages, d, number) <= longest_s), depths)
        return self._deepest[key]


def with_depths(task: Task, columns: Sequence[Column]) -> Placed:
    """Give every client its best warm-up depths within the memory that those before it leave.

    Parameters
    ----------
    task, columns
        What is planned, and a placement of every client.
    """
    room = _room_left_bytes(task, columns)
    if not room:
        depths_of = {at: task.depths(one)[0] for at, one in {id(one): one for one in columns}.items()}
        return [(column, depths_of[id(column)]) for column in columns]
    placed: Placed = []
    for column in columns:
        depths, _ = task.depths(column, room)
        used = [k for k, (a, c) in enumerate(column.spans) if k == 0 or a < c]
        for k, depth in zip(used, depths, strict=True):
            a, c = column.spans[k]
            node = column.route.nodes[k - 1] if k else ""
            if node in room and a < c:
                further = depth - column.route.least_in_flight[k]
                room[node] -= further * float(column.route.held_bytes[k, a, c])
        placed.append((column, depths))
    return placed


def with_deep_depths(task: Task, columns: Sequence[Column]) -> Placed:
    """Give every client the deepest warm-up of its own device that makes no round longer alone.

    A device that runs more micro-batches forward first waits less for those that come back, when machines are busy
    with others.

    Parameters
    ----------
    task, columns
        What is planned, and a placement of every client.
    """
    deep: dict[tuple[int, tuple[int, ...]], tuple[Column, tuple[int, ...]]] = {}
    placed: Placed = []
    for column, depths in with_depths(task, columns):
        key = id(column), depths
        if key not in deep:
            deep[key] = column, task.deepest(column, depths)
        placed.append(deep[key])
    return placed


def fits_memory(task: Task, columns: Sequence[Column]) -> bool:
    """Return whether placements of all clients are within the memory of nodes, with the least in flight.

    Parameters
    ----------
    task, columns
        What is planned, and a placement of every client.
    """
    return all(left >= 0 for left in _room_left_bytes(task, columns).values())


def _room_left_bytes(task: Task, columns: Sequence[Column]) -> dict[str, float]:
    """Return, by node, the memory that placements leave with the least in flight; below 0 where too little."""
    room = dict(task.memory_bytes)
    for column in columns if room else ():
        for node, size in column.memory_bytes.items():
            if node in room:
                room[node] -= size
    return room
