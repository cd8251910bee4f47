"""A column: one placement of a group's client, with what it takes of every shared machine and link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.chain.order import Crossing, Stage
from hybridsplit.solver.chain.training_bound import training_bound_s
from hybridsplit.solver.chain.values import Cuts, busy_seconds, node_spans, total_seconds
from hybridsplit.solver.relays.routes import Route


@dataclass(frozen=True, eq=False)
class Column:
    """A placement; two are equal where group, path, micro-batches and cuts are.

    Parameters
    ----------
    route, cuts
        The path with its micro-batches, and the cuts on it.
    busy_s
        Seconds of a round by shared resource.
    own_s
        Longest that a machine or link of the client's own is busy in a round.
    memory_bytes
        By shared node, with the least number of micro-batches in flight.
    """

    route: Route
    cuts: Cuts
    busy_s: Mapping[str, float]
    own_s: float
    memory_bytes: Mapping[str, float]

    @property
    def key(self) -> tuple[str, tuple[str, ...], int, Cuts]:
        """What tells it from others."""
        return self.route.group, self.route.nodes, self.route.micro_batches, self.cuts

    def __eq__(self, other: object) -> bool:
        """Return whether another value is the same placement."""
        return isinstance(other, Column) and self.key == other.key

    def __hash__(self) -> int:
        """Return a hash of the placement."""
        return hash(self.key)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Cuts before and behind the blocks of every machine of the path."""
        return node_spans(self.cuts, self.route.chain.num_blocks)


def column_of(route: Route, cuts: Cuts) -> Column:
    """Return the column of a choice.

    Parameters
    ----------
    route, cuts
        The route, and the choice.
    """
    busy: dict[str, float] = {}
    memory: dict[str, float] = {}
    own = 0.0

    def add(resource: str, seconds: float) -> None:
        nonlocal own
        if resource:
            busy[resource] = busy.get(resource, 0.0) + seconds
        else:
            own = max(own, seconds)

    for k, (a, c) in enumerate(node_spans(cuts, route.chain.num_blocks)):
        if a < c:
            add(route.node_resources[k], float(route.node_round_s[k, a, c]))
            if k:
                memory[route.nodes[k - 1]] = float(route.memory_bytes[k, a, c])
    for k, c in enumerate(cuts):
        add(route.up_resources[k], float(route.up_round_s[k, c]))
        add(route.down_resources[k], float(route.down_round_s[k, c]))
    return Column(route, cuts, {name: s for name, s in busy.items() if s > 0}, own, memory)


def alone_bound_s(column: Column, *, trains: bool) -> float:
    """Return what a round of a client cannot be below, whatever the order and with nobody else.

    Parameters
    ----------
    column
        Its placement.
    trains
        Whether gradients come back.
    """
    route = column.route
    if not trains:
        return burst_seconds(column)
    any_depth_s = route.steps * training_bound_s(route.chain, column.cuts, route.micro_batches)
    return max(any_depth_s, round_seconds(column, in_flight_bound_s(stages_of(column)[1], route.micro_batches)))


def in_flight_bound_s(stages: Sequence[Stage], micro_batches: int) -> float:
    """Return what a step cannot be below, by how many micro-batches each machine has memory for.

    A micro-batch is in flight on a machine from the beginning of its forward to the end of its backward pass there: at
    least as long as it takes alone from that machine on. With w in flight at most, m of them need m / w times as
    long, between the way of the first one there and that of the last one back. Our reconstruction.

    Parameters
    ----------
    stages
        The machines of a path, with the most that each has memory for.
    micro_batches
        Of a step.
    """
    takes_s = [
        stage.forward_s
        + stage.backward_s
        + sum(one.up_s + one.down_s + one.up_delay_s + one.down_delay_s for one in stage.links)
        for stage in stages
    ]
    beyond_s = np.cumsum(takes_s[::-1])[::-1]
    before_s = beyond_s[0] - beyond_s
    room = np.array([stage.most_warm_up * stage.replicas for stage in stages])
    return float((before_s + micro_batches / np.minimum(room, micro_batches) * beyond_s).max())


def burst_seconds(column: Column) -> float:
    """Return the seconds of a batch of inference with nobody else: exact, since micro-batches are alike.

    Parameters
    ----------
    column
        The placement.
    """
    route = column.route
    longest = max(float(part.max(initial=0.0)) for part in busy_seconds(route.chain, column.cuts))
    return total_seconds(route.chain, column.cuts) + (route.micro_batches - 1) * longest


def stages_of(column: Column, room_bytes: Mapping[str, float] | None = None) -> tuple[list[int], list[Stage]]:
    """Return the machines of a path that take part in a step, the client always first, as stages.

    Parameters
    ----------
    column
        The placement.
    room_bytes
        Memory of nodes that is left for further micro-batches in flight, by node; all of it when None.

    Returns
    -------
    list of int, list of Stage
        Positions in the path, and the stages.
    """
    route = column.route
    spans = column.spans
    used = [k for k, (a, c) in enumerate(spans) if k == 0 or a < c]
    stages = []
    for position, k in enumerate(used):
        a, c = spans[k]
        following = used[position + 1] if position + 1 < len(used) else k
        links = tuple(
            Crossing(
                float(route.chain.up_s[j, column.cuts[j]]), float(route.chain.down_s[j, column.cuts[j]]),
                float(route.up_delay_s[j, column.cuts[j]]), float(route.down_delay_s[j, column.cuts[j]]),
            )
            for j in range(k, following)
        )  # fmt: skip
        most = _most_warm_up(route, k, a, c, room_bytes)
        forward, both = float(route.forward_s[k, a, c]), float(route.chain.node_s[k, a, c])
        ends_s = float(route.update_s[k, a, c] + route.reduce_s[k, a, c])
        stages.append(Stage(forward, both - forward, ends_s, links, most, route.replicas[k] if a < c else 1))
    return used, stages


def _most_warm_up(route: Route, k: int, a: int, c: int, room_bytes: Mapping[str, float] | None) -> int:
    if a == c:
        return route.micro_batches
    least, most = route.least_in_flight[k], -(-route.micro_batches // route.replicas[k])
    room = float(route.most_memory_bytes[k] - route.memory_bytes[k, a, c])
    if k and room_bytes is not None:
        room = min(room, room_bytes.get(route.nodes[k - 1], np.inf))
    held = float(route.held_bytes[k, a, c])
    if held <= 0 or room == np.inf:
        return most
    return max(least, min(most, least + int(room // held)))


def round_seconds(column: Column, step_s: float) -> float:
    """Return the seconds of a round: its steps, and the exchange of blocks before and after.

    Parameters
    ----------
    column, step_s
        The placement, and the seconds of a step.
    """
    route = column.route
    exchange = sum(
        float(route.exchange_s[k, c].sum() + route.exchange_delay_s[k, c]) for k, c in enumerate(column.cuts)
    )
    return route.steps * step_s + exchange
