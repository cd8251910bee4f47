"""Every way of a client to the server, at every number of micro-batches, as a chain of machines in plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.contracts.stages import replicas_in_use
from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError
from hybridsplit.scenarios.relays.network import RelayNode
from hybridsplit.scenarios.relays.schema import RelayClients, RelayScenario
from hybridsplit.scenarios.units import counted, format_bytes
from hybridsplit.solver.chain.least_sum import least_sum
from hybridsplit.solver.chain.values import Chain, FloatArray, node_spans
from hybridsplit.solver.relays.route_costs import (
    exchange_seconds,
    further_sums,
    link_seconds,
    machine_seconds,
    memory_bytes,
    reduction,
    span_sums,
)

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
    forward_s, update_s, reduce_s
        [K, L + 1, L + 1] seconds of a micro-batch's forward pass, of the optimizer a step, and of adding up the
        gradients of replicas a step.
    reduced_bytes
        [K, L + 1, L + 1] what each replica sends for that.
    replicas
        [K] machines that share the micro-batches.
    memory_bytes
        [K, L + 1, L + 1] peak with the least number of micro-batches in flight, of each replica.
    held_bytes
        [K, L + 1, L + 1] what each further one in flight adds.
    least_in_flight
        [K] micro-batches that are in flight at once in any case: all of a replica's where the scenario asks for GPipe.
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
    reduce_s: FloatArray
    reduced_bytes: FloatArray
    replicas: tuple[int, ...]
    memory_bytes: FloatArray
    held_bytes: FloatArray
    least_in_flight: tuple[int, ...]
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
            raise _too_many_ways(group.group, paths)
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
    replicas = tuple(replicas_in_use(one.replicas if isinstance(one, RelayNode) else 1, number) for one in machines)
    memory, held = memory_bytes(costs, part, trains=trains)
    sums = [further_sums(scenario, number, count) for count in replicas]
    gradients = span_sums(costs.gradient_bytes)
    # The client holds the whole batch, so that nothing comes in.
    memories, holds = np.stack([memory + more * gradients for more in sums]), np.stack([held] * len(machines))
    holds[0, 0, 1:] -= part.sent_bytes[0]
    memories[0, 0, 1:] -= part.sent_bytes[0]
    memories[0] += costs.batch_bytes
    node_s, forward_s, update_s, most_bytes = machine_seconds(costs, part, machines)
    node_s[0, :, : group.min_cut] = np.inf
    all_first = scenario.training.pipeline == "gpipe"
    in_flight = tuple(-(-number // count) if all_first and trains else 1 for count in replicas)
    memories = memories + (np.array(in_flight) - 1)[:, None, None] * holds
    node_s = np.where(memories <= most_bytes[:, None, None], node_s, np.inf)
    reduce_s, reduced = reduction(gradients, machines, replicas)
    busiest = np.array([-(-number // count) for count in replicas])[:, None, None]
    up_s, down_s, up_delay, down_delay = link_seconds(part, links)
    exchange_s, exchange_delay = exchange_seconds(costs, links)
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
        chain=Chain(node_s, up_s, down_s, up_delay + down_delay, once_s, node_delay, most, replicas),
        node_round_s=steps * (busiest * node_s + update_s + reduce_s),
        up_round_s=steps * number * up_s + exchange_s[:, :, 1],
        down_round_s=steps * number * down_s + exchange_s[:, :, 0],
        forward_s=forward_s,
        update_s=update_s,
        reduce_s=reduce_s,
        reduced_bytes=reduced,
        replicas=replicas,
        memory_bytes=memories,
        held_bytes=holds,
        least_in_flight=in_flight,
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


def _too_many_ways(group: str, paths: list[list[str]]) -> ScenarioError:
    """Name the node at which the most ways part."""
    onward: dict[str, set[str]] = {}
    for path in paths:
        for here, there in pairwise(path):
            onward.setdefault(here, set()).add(there)
    parting = max(onward, key=lambda node: len(onward[node]))
    return ScenarioError(
        f"network.links: found more than {MOST_PATHS} ways from {group} to the server; needs at most {MOST_PATHS}, "
        "each of which is planned at every number of micro-batches: leave out links that no client needs, for instance "
        f"of {parting}, which leads on to {', '.join(sorted(onward[parting])[:12])}"
    )


def _nothing_fits(group: RelayClients, tried: list[Route]) -> InfeasibleError:
    least = min(float(route.memory_bytes[0, 0, group.min_cut]) for route in tried) if group.min_cut else 0.0
    if least > group.memory_budget_bytes:
        return InfeasibleError(
            f"client group {group.group}: min_cut keeps {counted(group.min_cut, 'block')} on the device, "
            f"{format_bytes(least)} at least, and its memory_budget_bytes is "
            f"{format_bytes(group.memory_budget_bytes)}: raise it, lower min_cut or batch_size, or allow more "
            "micro_batches"
        )
    return InfeasibleError(
        f"client group {group.group}: no placement of the blocks on {', '.join(tried[0].nodes)} and the client is "
        "within their memory: raise memory_bytes of a node or memory_budget_bytes, allow more cuts "
        "(training.cuts.most) or more micro_batches, or lower batch_size"
    )
