"""A client's round as a graph of operations, and the longest path through it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hybridsplit.scenarios.contracts.relay_plan import RelayClientPlan
from hybridsplit.scenarios.relays.network import RelayLink
from hybridsplit.scenarios.units import bits

_Operation = tuple[str, int, int]
"""What it is, on which machine or link, and for which micro-batch."""


def alone_seconds(client: RelayClientPlan, links: Sequence[RelayLink], steps: int, *, trains: bool) -> float:
    """Return the seconds of a round of a client with nobody else, or of its batch.

    Parameters
    ----------
    client
        Its plan.
    links
        The links of its path.
    steps
        Steps of a round.
    trains
        Whether gradients come back.
    """
    graph = _Graph()
    parts = {part.node: part for part in client.placement}
    last = max(k for k, node in enumerate(client.path) if node in parts)
    number = client.micro_batches
    for k in range(last + 1):
        part = parts.get(client.path[k])
        if part is None:
            # A node that only forwards has no order of its own.
            directions = ("forward", "backward") if trains else ("forward",)
            graph.seconds.update({(direction, k, i): 0.0 for direction in directions for i in range(number)})
            continue
        ends = []
        for replica in range(part.replicas):
            order = _order(k, range(replica, number, part.replicas), part.warm_up, trains=trains)
            for operation in order:
                graph.seconds[operation] = part.forward_s if operation[0] == "forward" else part.backward_s
            graph.follow(order)
            ends.append(order[-1])
        if trains:
            graph.seconds["update", k, 0] = part.reduce_s + part.update_s
            graph.after["update", k, 0] = [(end, 0.0) for end in ends]
    for k in range(last):
        hop, link = client.hops[k], links[k]
        for i in range(number):
            graph.seconds["up", k, i] = bits(hop.sent_bytes) / link.uplink_bps
            up_delay = link.latency_s if hop.sent_bytes else 0.0
            graph.after["up", k, i] = [(("forward", k, i), 0.0), *([(("up", k, i - 1), 0.0)] if i else [])]
            graph.after.setdefault(("forward", k + 1, i), []).append((("up", k, i), up_delay))
            if trains:
                graph.seconds["down", k, i] = bits(hop.returned_bytes) / link.downlink_bps
                down_delay = link.latency_s if hop.returned_bytes else 0.0
                graph.after["down", k, i] = [(("backward", k + 1, i), 0.0), *([(("down", k, i - 1), 0.0)] if i else [])]
                graph.after.setdefault(("backward", k, i), []).append((("down", k, i), down_delay))
    if trains:
        for i in range(number):
            graph.after.setdefault(("backward", last, i), []).append((("forward", last, i), 0.0))
    exchange = sum(
        bits(hop.exchanged_bytes) * (1 / link.uplink_bps + 1 / link.downlink_bps)
        + (2 * link.latency_s if hop.exchanged_bytes else 0.0)
        for hop, link in zip(client.hops, links, strict=True)
    )
    return steps * graph.longest() + exchange


def _order(k: int, numbers: Sequence[int], depth: int, *, trains: bool) -> list[_Operation]:
    """Return the operations of one machine: those of its own micro-batches."""
    if not trains:
        return [("forward", k, n) for n in numbers]
    order: list[_Operation] = []
    for j, n in enumerate(numbers):
        order += [("forward", k, i) for i in numbers[j if j == 0 else j + depth - 1 : j + depth]]
        order.append(("backward", k, n))
    return order


class _Graph:
    """Operations with their seconds, and what each comes after, with a delay in between."""

    def __init__(self) -> None:
        self.seconds: dict[_Operation, float] = {}
        self.after: dict[_Operation, list[tuple[_Operation, float]]] = {}

    def follow(self, chain: Sequence[_Operation]) -> None:
        """Let operations come one after another."""
        for before, operation in itertools.pairwise(chain):
            self.after.setdefault(operation, []).append((before, 0.0))

    def longest(self) -> float:
        """Return the end of the last operation."""
        ends: dict[_Operation, float] = {}
        pending = list(self.seconds)
        while pending:
            operation = pending[-1]
            missing = [before for before, _ in self.after.get(operation, []) if before not in ends]
            if missing and operation not in ends:
                pending += missing
                continue
            pending.pop()
            if operation not in ends:
                start = max((ends[before] + delay for before, delay in self.after.get(operation, [])), default=0.0)
                ends[operation] = start + self.seconds[operation]
        return max(ends.values())
