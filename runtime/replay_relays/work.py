"""What every client of a plan does in a round: machines, messages and exchanges, from the plan and its scenario."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hybridsplit.scenarios.contracts.relay_plan import Hop, PlacedBlocks, RelayClientPlan, RelayPlan
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.network import RelayLink
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import bits


@dataclass(frozen=True)
class Machine:
    """A machine that works for a client.

    Parameters
    ----------
    resource
        Its name among all that clients share; a client's own has the client's id.
    forward_s, backward_s, update_s
        Seconds of a micro-batch, and of the optimizer.
    warm_up
        Micro-batches that run forward before the first runs backward, on each replica.
    replicas
        Machines that have micro-batches in turn.
    reduce_s
        Seconds of adding up the gradients of replicas, which follows the last backward of all of them.
    """

    resource: str
    forward_s: float
    backward_s: float
    update_s: float
    warm_up: int
    replicas: int = 1
    reduce_s: float = 0.0


@dataclass(frozen=True)
class Leg:
    """A message over one link.

    Parameters
    ----------
    resource
        The link's direction, by its name among all that clients share.
    link
        The two ends of the link, of which the first may be the client.
    size_bytes
        The message.
    seconds, delay_s
        How long it is busy, and what the message takes beyond.
    """

    resource: str
    link: str
    size_bytes: int
    seconds: float
    delay_s: float


@dataclass(frozen=True)
class ClientWork:
    """The work of a client in a round.

    Parameters
    ----------
    client
        Its id.
    steps, micro_batches
        Steps, and micro-batches of each.
    trains
        Whether gradients come back.
    machines
        Those on its way that work, itself first.
    up, down
        Legs from each machine to the next, and what comes back over them.
    exchange_down, exchange_up
        Blocks before and after the round, from the client's link to the server's.
    turn
        Whose turn it is among those who arrive at once.
    """

    client: str
    steps: int
    micro_batches: int
    trains: bool
    machines: tuple[Machine, ...]
    up: tuple[tuple[Leg, ...], ...]
    down: tuple[tuple[Leg, ...], ...]
    exchange_down: tuple[Leg, ...]
    exchange_up: tuple[Leg, ...]
    turn: int = 0


def work_of(plan: RelayPlan, repeats: int = 1) -> tuple[ClientWork, ...]:
    """Return the work of all clients.

    Parameters
    ----------
    plan
        The plan.
    repeats
        Batches of every client that follow each other without a pause; for inference.
    """
    scenario = validate_relays(plan.scenario, "the plan's scenario")
    links = {(link.origin, link.to): link for link in scenario.network.links}
    return tuple(_work(client, scenario, links, repeats) for client in plan.clients)


def _work(
    client: RelayClientPlan, scenario: RelayScenario, links: dict[tuple[str, str], RelayLink], repeats: int
) -> ClientWork:
    trains, number = scenario.trains, client.micro_batches * repeats
    parts = {part.node: part for part in client.placement}
    stops = [k for k, node in enumerate(client.path) if k == 0 or node in parts]
    crossed = [links[client.group if k == 0 else hop.source, hop.target] for k, hop in enumerate(client.hops)]
    ways = list(zip(client.hops, crossed, strict=True))
    return ClientWork(
        client=client.id,
        steps=scenario.training.local_steps,
        micro_batches=number,
        trains=trains,
        machines=tuple(_machine(client.path[k], parts.get(client.path[k]), number) for k in stops),
        up=tuple(
            tuple(_leg(client, *way, "up", way[0].sent_bytes) for way in ways[start:stop])
            for start, stop in itertools.pairwise(stops)
        ),
        down=tuple(
            tuple(_leg(client, *way, "down", way[0].returned_bytes) for way in ways[start:stop])
            for start, stop in itertools.pairwise(stops)
        ),
        exchange_down=tuple(_leg(client, *way, "down", way[0].exchanged_bytes) for way in ways),
        exchange_up=tuple(_leg(client, *way, "up", way[0].exchanged_bytes) for way in ways),
        turn=client.turn,
    )


def _machine(node: str, part: PlacedBlocks | None, number: int) -> Machine:
    """A client without blocks passes its samples on."""
    if part is None:
        return Machine(node, 0.0, 0.0, 0.0, number)
    return Machine(node, part.forward_s, part.backward_s, part.update_s, part.warm_up, part.replicas, part.reduce_s)


def _leg(client: RelayClientPlan, hop: Hop, link: RelayLink, direction: str, size_bytes: int) -> Leg:
    is_own = link.origin == client.group and not link.shared
    source = client.id if is_own else link.origin
    rate_bps = link.uplink_bps if direction == "up" else link.downlink_bps
    delay_s = link.latency_s if size_bytes else 0.0
    resource = f"{source}>{hop.target} {direction}"
    return Leg(resource, f"{hop.source}>{hop.target}", size_bytes, bits(size_bytes) / rate_bps, delay_s)
