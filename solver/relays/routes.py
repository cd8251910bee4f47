"""Every way of a client to the server, at every number of micro-batches, as a chain of machines in plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import IntArray, MicroBatchCosts, RelayCosts
from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError
from hybridsplit.scenarios.relays.network import RelayLink, RelayNode
from hybridsplit.scenarios.relays.schema import RelayClients, RelayScenario
from hybridsplit.scenarios.units import bits, format_bytes
from hybridsplit.solver.chain.least_sum import least_sum
from hybridsplit.solver.chain.values import Chain, FloatArray, node_spans

MOST_PATHS = 256
UP, DOWN = "up", "down"


def link_name(source: str, target: str, direction: str) -> str:
    """Return the name of a direction of a link, as a resource."""
    return f"{source}>{target} {direction}"


@dataclass(frozen=True)
class Route:
    """One path of a group's clients at one number of micro-batches. Seconds are those of the machines' planned part.

    Parameters
    ----------
    group, nodes
        The client group, and the nodes on its way.
    micro_batches
        Micro-batches m of a step.
    chain
        What cuts take of a micro-batch.
    node_round_s
        [K, L + 1, L + 1] how long a machine is busy in a round.
    up_round_s, down_round_s
        [K - 1, L + 1] how long a link is busy in a round, by direction.
    forward_s, update_s
        [K, L + 1, L + 1] seconds of a micro-batch's forward pass, and of the optimizer a step.
    memory_bytes
        [K, L + 1, L + 1] peak with one micro-batch in flight.
    held_bytes
        [K, L + 1, L + 1] what each further one in flight adds.
    most_memory_bytes
        [K] what there is; infinite where nothing is stated.
    node_resources, up_resources, down_resources
        Names of those that clients share; empty for a client's own.
    steps
        Steps of a round.
    exchange_s
        [K - 1, L + 1, 2] seconds of a link before and after a round, down and up.
    up_delay_s, down_delay_s
        [K - 1, L + 1] propagation of a message.
    exchange_delay_s
        [K - 1, L + 1] propagation of the messages before and after a round, both ways together.
    """

    group: str
    nodes: tuple[str, ...]
    micro_batches: int
    chain: Chain
    node_round_s: FloatArray
    up_round_s: FloatArray
    down_round_s: FloatArray
    forward_s: FloatArray
    update_s: FloatArray
    memory_bytes: FloatArray
    held_bytes: FloatArray
    most_memory_bytes: FloatArray
    node_resources: tuple[str, ...]
    up_resources: tuple[str, ...]
    down_resources: tuple[str, ...]
    steps: int
    exchange_s: FloatArray
    up_delay_s: FloatArray
    down_delay_s: FloatArray
    exchange_delay_s: FloatArray


def routes_of(scenario: RelayScenario, costs: RelayCosts, most_cuts: int | None = None) -> tuple[Route, ...]:
    """Return every route of every group on which there is a placement.

    Parameters
    ----------
    scenario, costs
        The scenario, and what blocks cost.
    most_cuts
        Most cuts; those of the scenario when None.

    Raises
    ------
    ScenarioError
        If a group has too many paths, or demands more blocks than there are.
    InfeasibleError
        If there is no placement for a group within memory.
    """
    graph = scenario.network.graph()
    import networkx as nx

    most = (scenario.training.cuts.most if most_cuts is None else most_cuts) + 1
    found: list[Route] = []
    for index, group in enumerate(scenario.clients):
        if group.min_cut > costs.num_blocks:
            raise ScenarioError(
                f"clients.{index}.min_cut: found {group.min_cut}; the model has {costs.num_blocks} blocks"
            )
        paths: list[list[str]] = []
        for server in scenario.network.servers():
            paths += islice(nx.all_simple_paths(graph, group.group, server), MOST_PATHS + 1)
        if len(paths) > MOST_PATHS:
            raise ScenarioError(
                f"network.links: more than {MOST_PATHS} ways from {group.group} to the server; leave out links"
            )
        if not paths:
            raise ScenarioError(f"network.links: no way leads from {group.group} to a server; add links on the way")
        tried = [
            _route(scenario, costs, group, tuple(path[1:]), number, most)
            for path in paths
            for number in scenario.training.micro_batches
        ]
        possible = [route for route in tried if np.isfinite(least_sum(route.chain).value_s)]
        if not possible:
            raise _nothing_fits(group, tried)
        found += possible
    return tuple(found)


def is_possible(route: Route, cuts: tuple[int, ...]) -> bool:
    """Return whether a choice keeps the number of cuts, and memory with one micro-batch in flight.

    Parameters
    ----------
    route, cuts
        The route, and the choice.
    """
    chain = route.chain
    spans = node_spans(cuts, chain.num_blocks)
    parts = sum(a < c for a, c in spans)
    return parts <= chain.most_parts and all(np.isfinite(chain.node_s[k, a, c]) for k, (a, c) in enumerate(spans))


def own_seconds(route: Route) -> FloatArray:
    """Return [L + 1] the longest that what is a client's own is busy in a round, at each cut behind its device.

    Parameters
    ----------
    route
        The route.
    """
    own: FloatArray = route.node_round_s[0, 0].copy()
    if not route.up_resources[0]:
        own = np.maximum(own, np.maximum(route.up_round_s[0], route.down_round_s[0]))
    return np.asarray(own)


def within_own(route: Route, most_own_s: float) -> Route | None:
    """Return a route without the cuts at which what is a client's own is busy for too long; None if none is left.

    Parameters
    ----------
    route
        The route.
    most_own_s
        Seconds of a round.
    """
    node_s = route.chain.node_s.copy()
    node_s[0, 0, own_seconds(route) > most_own_s] = np.inf
    limited = replace(route, chain=replace(route.chain, node_s=node_s))
    return limited if np.isfinite(least_sum(limited.chain).value_s) else None


def _route(
    scenario: RelayScenario, costs: RelayCosts, group: RelayClients, nodes: tuple[str, ...], number: int, most: int
) -> Route:
    part = costs.by_micro_batches[number]
    by_name = {node.node: node for node in scenario.network.nodes}
    by_pair = {(link.origin, link.to): link for link in scenario.network.links}
    machines: list[RelayClients | RelayNode] = [group, *(by_name[name] for name in nodes)]
    links = [by_pair[pair] for pair in pairwise((group.group, *nodes))]
    steps, trains = scenario.training.local_steps, scenario.trains
    memory, held = _memory(costs, part, trains=trains)
    # The client holds the whole batch, so that nothing comes in.
    memories, holds = np.stack([memory] * len(machines)), np.stack([held] * len(machines))
    holds[0, 0, 1:] -= part.sent_bytes[0]
    memories[0, 0, 1:] -= part.sent_bytes[0]
    memories[0] += costs.batch_bytes
    node_s, forward_s, update_s, most_bytes = _machines(costs, part, machines)
    node_s[0, :, : group.min_cut] = np.inf
    node_s = np.where(memories <= most_bytes[:, None, None], node_s, np.inf)
    up_s, down_s, up_delay, down_delay = _links(part, links)
    exchange_s, exchange_delay = _exchange(costs, links)
    once_s = (exchange_s.sum(axis=2) + exchange_delay) / steps
    node_delay = np.zeros_like(node_s)
    node_delay[0] = update_s[0]
    own = [
        "" if link.origin == group.group and not link.shared else link_name(link.origin, link.to, "") for link in links
    ]
    return Route(
        group=group.group,
        nodes=nodes,
        micro_batches=number,
        chain=Chain(node_s, up_s, down_s, up_delay + down_delay, once_s, node_delay, most),
        node_round_s=steps * (number * node_s + update_s),
        up_round_s=steps * number * up_s + exchange_s[:, :, 1],
        down_round_s=steps * number * down_s + exchange_s[:, :, 0],
        forward_s=forward_s,
        update_s=update_s,
        memory_bytes=memories,
        held_bytes=holds,
        most_memory_bytes=most_bytes,
        node_resources=("", *nodes),
        up_resources=tuple(name and name + UP for name in own),
        down_resources=tuple(name and name + DOWN for name in own),
        steps=steps,
        exchange_s=exchange_s,
        up_delay_s=up_delay,
        down_delay_s=down_delay,
        exchange_delay_s=exchange_delay,
    )


def _machines(
    costs: RelayCosts, part: MicroBatchCosts, machines: list[RelayClients | RelayNode]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Seconds [K, L + 1, L + 1] of blocks, of their forward pass and of their update, and memories [K]."""
    size = costs.num_blocks + 1
    node_s, update_s = np.full((len(machines), size, size), np.inf), np.zeros((len(machines), size, size))
    forward_s, most = np.zeros_like(update_s), np.full(len(machines), np.inf)
    node_s[:, np.arange(size), np.arange(size)] = 0.0
    rising = np.triu(np.ones((size, size), dtype=bool), 1)
    for k, machine in enumerate(machines):
        device = machine.device
        if device is None:
            continue
        share = 1.0 - machine.load if isinstance(machine, RelayNode) else 1.0
        limit = machine.memory_bytes if isinstance(machine, RelayNode) else machine.memory_budget_bytes
        most[k] = np.inf if limit is None else limit
        busy = _spans(part.forward_s[device] + part.backward_s[device]) / share
        node_s[k][rising] = busy[rising]
        forward_s[k][rising] = (_spans(part.forward_s[device]) / share)[rising]
        update_s[k][rising] = (_spans(costs.update_s[device]) / share)[rising]
    return node_s, forward_s, update_s, most


def _spans(of_block: FloatArray | IntArray) -> FloatArray:
    """[L + 1, L + 1] sums of the blocks after a cut up to another."""
    before = np.concatenate([[0.0], np.cumsum(of_block)])
    return np.asarray(np.maximum(before[None, :] - before[:, None], 0.0))


def _memory(costs: RelayCosts, part: MicroBatchCosts, *, trains: bool) -> tuple[FloatArray, FloatArray]:
    """[L + 1, L + 1] peak bytes with one micro-batch in flight, and what each further one adds.

    Parameters, gradients and optimizer state stand; a micro-batch in flight holds what came in and what its blocks
    keep; one block at a time has its excess, beside the gradient of what goes out. An upper estimate: the largest
    excess is taken beside all that is kept.
    """
    size = costs.num_blocks + 1
    running = np.zeros((size, size))
    for a in range(size - 1):
        running[a, a + 1 :] = np.maximum.accumulate(part.running_bytes[a:])
    held = _spans(part.kept_bytes) + part.sent_bytes[:, None]
    peak = _spans(costs.standing_bytes + costs.trained_bytes) + held + running
    if trains:
        peak = peak + part.returned_bytes[None, :]
    rising = np.triu(np.ones((size, size), dtype=bool), 1)
    return np.where(rising, peak, 0.0), np.where(rising, held, 0.0)


def _links(part: MicroBatchCosts, links: list[RelayLink]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    up = np.array([bits(1) * part.sent_bytes / link.uplink_bps for link in links])
    down = np.array([bits(1) * part.returned_bytes / link.downlink_bps for link in links])
    up_delay = np.array([np.where(part.sent_bytes > 0, link.latency_s, 0.0) for link in links])
    down_delay = np.array([np.where(part.returned_bytes > 0, link.latency_s, 0.0) for link in links])
    return up, down, up_delay, down_delay


def _exchange(costs: RelayCosts, links: list[RelayLink]) -> tuple[FloatArray, FloatArray]:
    """Seconds [K - 1, L + 1, 2] of the blocks before a cut on every link, down and up, and delays of both."""
    size = np.concatenate([[0.0], np.cumsum(costs.exchanged_bytes)])
    seconds = np.stack(
        [np.stack([bits(1) * size / link.downlink_bps, bits(1) * size / link.uplink_bps], axis=1) for link in links]
    )
    delays = np.array([np.where(size > 0, 2 * link.latency_s, 0.0) for link in links])
    return seconds, delays


def _nothing_fits(group: RelayClients, tried: list[Route]) -> InfeasibleError:
    least = min(float(route.memory_bytes[0, 0, group.min_cut]) for route in tried) if group.min_cut else 0.0
    if least > group.memory_budget_bytes:
        return InfeasibleError(
            f"client group {group.group}: the first {group.min_cut} blocks (min_cut) need {format_bytes(least)}, and "
            f"its memory_budget_bytes is {format_bytes(group.memory_budget_bytes)}: raise it, lower min_cut or "
            "batch_size, or allow more micro_batches"
        )
    return InfeasibleError(
        f"client group {group.group}: no placement of the blocks on {', '.join(tried[0].nodes)} and the client is "
        "within their memory: raise memory_bytes of a node or memory_budget_bytes, allow more cuts "
        "(training.cuts.most) or more micro_batches, or lower batch_size"
    )
