"""Check a plan over relays from the costs of blocks and its scenario alone, in plain loops of its own.

Every figure is derived again: seconds and bytes of each part and hop, memory with all micro-batches in flight, work of
shared machines and links, and the time of every client's round, which here is the longest path through a graph of its
operations and not a walk in time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.contracts.relay_plan import PlacedBlocks, RelayClientPlan, RelayPlan
from hybridsplit.scenarios.relays.network import RelayLink
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.verify.relay_order import alone_seconds

_CLOSE = 1e-9


def relay_violations(plan: RelayPlan, scenario: RelayScenario, costs: RelayCosts) -> Iterator[str]:
    """Yield what is wrong with a plan; nothing where it holds.

    Parameters
    ----------
    plan
        The plan.
    scenario, costs
        What it is for, and what blocks cost.
    """
    expected = [(client.id, client.group) for client in scenario.expanded_clients()]
    if [(client.id, client.group) for client in plan.clients] != expected:
        yield "the clients are not those of the scenario"
        return
    if plan.num_blocks != costs.num_blocks:
        yield f"num_blocks is {plan.num_blocks}, and the model has {costs.num_blocks}"
        return
    work: dict[str, float] = {}
    memory: dict[str, int] = {}
    longest_own, known = 0.0, {}
    for client in plan.clients:
        said = client.model_dump_json(exclude={"id", "latency_s", "turn"}).replace(f'"{client.id}"', '"client"')
        if said not in known:
            known[said] = list(_client_violations(client, scenario, costs))
        if known[said]:
            yield from (f"{client.id}: {fault}" for fault in known[said])
            return
        longest_own = max(longest_own, _add_work(client, scenario, work))
        for part in client.placement:
            if part.node != client.id:
                memory[part.node] = memory.get(part.node, 0) + part.peak_bytes
        if client.latency_s < client.alone_s * (1 - _CLOSE) and plan.objective != "inference-period":
            yield f"{client.id}: latency_s is below alone_s"
    for node in scenario.network.nodes:
        if node.memory_bytes is not None and memory.get(node.node, 0) > node.memory_bytes:
            yield f"{node.node}: its memory holds {node.memory_bytes} bytes, and {memory[node.node]} are placed there"
    yield from _figures(plan, scenario, work, longest_own)


def _figures(plan: RelayPlan, scenario: RelayScenario, work: dict[str, float], longest_own: float) -> Iterator[str]:
    if plan.objective != scenario.objective.minimise:
        yield f"objective is {plan.objective}, and the scenario minimises {scenario.objective.minimise}"
    if set(plan.busy_s) != set(work) or any(not _near(plan.busy_s[name], seconds) for name, seconds in work.items()):
        yield "busy_s is not the work that is placed"
    longest = max([*work.values(), longest_own])
    ends = max(client.latency_s for client in plan.clients)
    if plan.objective == "inference-period":
        if not _near(plan.value_s, longest):
            yield f"value_s is {plan.value_s:.9g}, and the longest work is {longest:.9g} s"
    elif not _near(plan.value_s, ends):
        yield f"value_s is {plan.value_s:.9g}, and the last client ends at {ends:.9g} s"
    elif plan.value_s < longest * (1 - _CLOSE):
        yield f"value_s is {plan.value_s:.9g}, below the longest work of {longest:.9g} s"
    elif len(plan.clients) == 1 and not _near(plan.value_s, plan.clients[0].alone_s):
        yield "a client with nobody else ends later than alone"
    if plan.lower_bound_s > plan.value_s * (1 + _CLOSE):
        yield f"lower_bound_s is {plan.lower_bound_s:.9g}, above the value"
    gap = plan.value_s / plan.lower_bound_s - 1 if plan.lower_bound_s else 0.0
    if not math.isclose(plan.gap, gap, rel_tol=1e-9, abs_tol=1e-12):
        yield "gap is not that of value_s and lower_bound_s"


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=1e-12)


def _client_violations(client: RelayClientPlan, scenario: RelayScenario, costs: RelayCosts) -> Iterator[str]:
    group = next(one for one in scenario.clients if one.group == client.group)
    links = links_of_path(client, scenario)
    if links is None or client.path[0] != client.id or client.path[-1] not in scenario.network.servers():
        yield f"{' > '.join(client.path)} is no way to a server"
        return
    if len(set(client.path)) != len(client.path):
        yield "the path meets a node twice"
    if client.micro_batches not in scenario.training.micro_batches:
        yield f"{client.micro_batches} micro-batches are not among those of the scenario"
        return
    ends, done = [], 0
    parts = {part.node: part for part in client.placement}
    if [part.node for part in client.placement] != [node for node in client.path if node in parts]:
        yield "the blocks are not placed along the path"
        return
    for node in client.path:
        part = parts.get(node)
        if part is not None:
            if part.first_block != done + 1 or part.last_block < part.first_block:
                yield f"{node}: blocks {part.first_block} to {part.last_block} do not follow block {done}"
                return
            done = part.last_block
        ends.append(done)
    if done != costs.num_blocks:
        yield f"block {done + 1} is placed nowhere"
        return
    if ends[0] < group.min_cut:
        yield f"{ends[0]} blocks are on the client, and min_cut is {group.min_cut}"
    if len(client.placement) - 1 > scenario.training.cuts.most:
        yield f"{len(client.placement) - 1} cuts, and {scenario.training.cuts.most} are allowed"
    for part in client.placement:
        yield from _part_violations(part, client, scenario, costs)
    if _rises(client):
        depths = [part.warm_up for part in client.placement]
        yield f"warm-up depths {depths} rise, or are above the {client.micro_batches} micro-batches"
        return
    costs_here = costs.by_micro_batches[client.micro_batches]
    if len(client.hops) != len(links):
        yield "hops are not the links of the path"
        return
    for k, (hop, cut) in enumerate(zip(client.hops, ends, strict=False)):
        wanted: tuple[Any, ...] = (
            client.path[k], client.path[k + 1], int(costs_here.sent_bytes[cut]), int(costs_here.returned_bytes[cut]),
            sum(int(size) for size in costs.exchanged_bytes[:cut]),
        )  # fmt: skip
        if (hop.source, hop.target, hop.sent_bytes, hop.returned_bytes, hop.exchanged_bytes) != wanted:
            yield f"{hop.source} to {hop.target}: bytes are not those of cut {cut}"
            return
    alone = alone_seconds(client, links, scenario.training.local_steps, trains=scenario.trains)
    if not _near(alone, client.alone_s):
        yield f"alone_s is {client.alone_s:.12g}, and its operations take {alone:.12g} s"


def _rises(client: RelayClientPlan) -> bool:
    """Whether a machine would wait for a micro-batch that one before it holds back until the first is through."""
    in_flight = client.micro_batches
    for part in client.placement:
        if part.warm_up > client.runs(part, 0) or (part.warm_up - 1) * part.replicas >= in_flight:
            return True
        if part.warm_up < client.runs(part, 0):
            in_flight = min(in_flight, part.warm_up * part.replicas)
    return False


def _part_violations(
    part: PlacedBlocks, client: RelayClientPlan, scenario: RelayScenario, costs: RelayCosts
) -> Iterator[str]:
    node = next((one for one in scenario.network.nodes if one.node == part.node), None)
    group = next(one for one in scenario.clients if one.group == client.group)
    device, load = (group.device, 0.0) if node is None else (node.device, node.load)
    if device is None or device != part.device:
        yield f"{part.node}: runs blocks as {part.device!r}, and is {device!r}"
        return
    here = costs.by_micro_batches[client.micro_batches]
    a, c = part.first_block - 1, part.last_block
    replicas = 1 if node is None else max(2**n for n in range(7) if 2**n <= min(node.replicas, client.micro_batches))
    if part.replicas != replicas:
        yield f"{part.node}: {part.replicas} replicas work, and {replicas} could"
        return
    gradients = sum(int(size) for size in costs.gradient_bytes[a:c])
    swaps = round(math.log2(replicas)) * gradients
    if part.reduced_bytes != swaps:
        yield f"{part.node}: reduced_bytes is {part.reduced_bytes}, and replicas send {swaps}"
    rate_bps = math.inf if node is None or node.replica_bps is None else node.replica_bps
    seconds = {
        "reduce_s": bits(swaps) / rate_bps,
        "forward_s": math.fsum(here.forward_s[device][a:c]) / (1 - load),
        "backward_s": math.fsum(here.backward_s[device][a:c]) / (1 - load),
        "update_s": math.fsum(costs.update_s[device][a:c]) / (1 - load),
    }
    for name, wanted in seconds.items():
        if not math.isclose(getattr(part, name), wanted, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{part.node}: {name} is {getattr(part, name):.12g}, and its blocks take {wanted:.12g} s"
    comes_in = costs.batch_bytes if node is None else part.warm_up * int(here.sent_bytes[a])
    kept = sum(int(size) for size in here.kept_bytes[a:c])
    if part.held_bytes != kept + (0 if node is None else int(here.sent_bytes[a])):
        yield f"{part.node}: held_bytes is {part.held_bytes}, and a micro-batch in flight takes {kept} of its blocks"
    held = part.warm_up * kept + comes_in
    sums = math.ceil(min(scenario.training.partial_sums, client.micro_batches) / replicas)
    held += gradients * (sums if replicas > 1 else sums - 1)
    stands = sum(int(size) for size in costs.standing_bytes[a:c]) + sum(int(size) for size in costs.trained_bytes[a:c])
    goes_out = int(here.returned_bytes[c]) if scenario.trains else 0
    peak = stands + held + max(int(size) for size in here.running_bytes[a:c]) + goes_out
    if part.peak_bytes != peak:
        yield f"{part.node}: peak_bytes is {part.peak_bytes}, and its blocks take {peak}"
    if node is None and part.peak_bytes > group.memory_budget_bytes:
        yield f"its budget is {group.memory_budget_bytes} bytes, and {part.peak_bytes} are placed on it"


def links_of_path(client: RelayClientPlan, scenario: RelayScenario) -> list[RelayLink] | None:
    """Return the links of a client's path; None where there is none between two of its nodes.

    Parameters
    ----------
    client, scenario
        The client's plan, and the scenario.
    """
    names = [client.group, *client.path[1:]]
    found: list[RelayLink] = []
    for source, target in itertools.pairwise(names):
        link = next((one for one in scenario.network.links if (one.origin, one.to) == (source, target)), None)
        if link is None:
            return None
        found.append(link)
    return found


def _add_work(client: RelayClientPlan, scenario: RelayScenario, work: dict[str, float]) -> float:
    """Add what a client takes of shared machines and links in a round; return the longest of what is its own."""
    steps, number, own = scenario.training.local_steps, client.micro_batches, 0.0
    for part in client.placement:
        each = client.runs(part, 0) * (part.forward_s + part.backward_s)
        seconds = steps * (each + part.update_s + part.reduce_s)
        if part.node == client.id:
            own = max(own, seconds)
        elif seconds > 0:
            work[part.node] = work.get(part.node, 0.0) + seconds
    for hop, link in zip(client.hops, links_of_path(client, scenario) or [], strict=True):
        up = bits(steps * number * hop.sent_bytes + hop.exchanged_bytes) / link.uplink_bps
        down = bits(steps * number * hop.returned_bytes + hop.exchanged_bytes) / link.downlink_bps
        if link.origin == client.group and not link.shared:
            own = max(own, up, down)
            continue
        for direction, seconds in (("up", up), ("down", down)):
            if seconds > 0:
                name = f"{link.origin}>{link.to} {direction}"
                work[name] = work.get(name, 0.0) + seconds
    return own
