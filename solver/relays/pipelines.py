"""The stages of one client as a pipeline: period, time that machines idle, and memory, in each of the named orders."""

from __future__ import annotations

from dataclasses import dataclass

from hybridsplit.scenarios.contracts.relay_plan import PlacedBlocks, RelayClientPlan
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.chain.order import Crossing, Stage, step_seconds, warm_ups_of

PLANNED = "planned"
ORDERS = (PLANNED, "1f1b", "gpipe")


@dataclass(frozen=True)
class PipelineOrder:
    """A step of a client's placement in one order.

    Parameters
    ----------
    order
        ``planned``, ``1f1b`` or ``gpipe``.
    warm_ups
        [K] micro-batches that each machine of a stage holds.
    step_s
        Seconds of a step of this client with nobody else.
    idle_shares
        [K] share of the step in which machines of a stage do nothing (the bubble).
    idle_share
        The same over all machines.
    peak_bytes
        [K] memory of each machine of a stage.
    """

    order: str
    warm_ups: tuple[int, ...]
    step_s: float
    idle_shares: tuple[float, ...]
    idle_share: float
    peak_bytes: tuple[int, ...]


def pipeline_orders(client: RelayClientPlan, scenario: RelayScenario) -> tuple[PipelineOrder, ...]:
    """Return a client's placement in the order of the plan, and in 1F1B and GPipe whatever memory there is.

    Parameters
    ----------
    client, scenario
        The client's plan, and its scenario, by which something is trained.
    """
    stages, number = _stages(client, scenario), client.micro_batches
    found = []
    for order in ORDERS:
        depths = _planned_depths(client) if order == PLANNED else warm_ups_of(order, stages, number)[0]
        step_s = step_seconds(stages, depths, number)
        # A client without blocks of its own is no stage that could idle.
        own = depths[-len(client.placement) :]
        busy = [_busy_s(client, part) for part in client.placement]
        machines = [part.replicas for part in client.placement]
        worked = sum(
            client.runs(part, at) * (part.forward_s + part.backward_s) + part.update_s + part.reduce_s
            for part in client.placement
            for at in range(part.replicas)
        )
        found.append(
            PipelineOrder(
                order,
                own,
                step_s,
                tuple(1 - seconds / step_s for seconds in busy),
                1 - worked / (sum(machines) * step_s),
                tuple(
                    part.peak_bytes + (depth - part.warm_up) * part.held_bytes
                    for part, depth in zip(client.placement, own, strict=True)
                ),
            )
        )
    return tuple(found)


def period_s(client: RelayClientPlan, scenario: RelayScenario) -> float:
    """Return the seconds between two micro-batches when the pipeline is full: the busiest stage or link direction.

    Parameters
    ----------
    client, scenario
        The client's plan, and its scenario.
    """
    stages = _stages(client, scenario)
    links = [max(link.up_s, link.down_s) for stage in stages for link in stage.links]
    return max([*links, *((stage.forward_s + stage.backward_s) / stage.replicas for stage in stages)])


def _busy_s(client: RelayClientPlan, part: PlacedBlocks) -> float:
    """Seconds of a step in which the busiest machine of a stage works."""
    return client.runs(part, 0) * (part.forward_s + part.backward_s) + part.update_s + part.reduce_s


def _planned_depths(client: RelayClientPlan) -> tuple[int, ...]:
    own = tuple(part.warm_up for part in client.placement)
    return own if client.placement[0].node == client.id else (client.micro_batches, *own)


def _stages(client: RelayClientPlan, scenario: RelayScenario) -> list[Stage]:
    """The client, with blocks or without, and all others that run some, with the links between them."""
    rates = {(link.origin, link.to): link for link in scenario.network.links}
    parts = {part.node: part for part in client.placement}
    stops = [k for k, node in enumerate(client.path) if k == 0 or node in parts]
    crossings = []
    for k, hop in enumerate(client.hops):
        link = rates[client.group if k == 0 else hop.source, hop.target]
        crossings.append(
            Crossing(
                bits(hop.sent_bytes) / link.uplink_bps, bits(hop.returned_bytes) / link.downlink_bps,
                link.latency_s if hop.sent_bytes else 0.0, link.latency_s if hop.returned_bytes else 0.0,
            )
        )  # fmt: skip
    stages = []
    for k, following in zip(stops, [*stops[1:], stops[-1]], strict=True):
        part, links = parts.get(client.path[k]), tuple(crossings[k:following])
        if part is None:
            stages.append(Stage(0.0, 0.0, 0.0, links, client.micro_batches))
        else:
            ends_s = part.update_s + part.reduce_s
            stages.append(Stage(part.forward_s, part.backward_s, ends_s, links, client.micro_batches, part.replicas))
    return stages
