"""The ledger of a run over relays: what every machine and link does for every client, planned and replayed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from hybridsplit.runtime.replay_relays import PlayedRelays, Spent
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.relay_plan import RelayClientPlan, RelayPlan
from hybridsplit.scenarios.contracts.stages import machine_name
from hybridsplit.scenarios.relays.network import RelayLink
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import bits

_OF_KIND = {
    "up": Phase.UPLINK,
    "down": Phase.DOWNLINK,
    "exchange-down": Phase.MODEL_DOWNLOAD,
    "exchange-up": Phase.MODEL_UPLOAD,
}


def planned_entries(
    plan: RelayPlan, scenario: RelayScenario, round_index: int, clients: Collection[str]
) -> Iterator[LedgerEntry]:
    """Return what the plan states of a round.

    Parameters
    ----------
    plan, scenario
        The plan, and its scenario.
    round_index
        Which round, from 0.
    clients
        Those who take part.
    """
    links = {(link.origin, link.to): link for link in scenario.network.links}
    for client in plan.clients:
        if client.id in clients:
            for phase, node, seconds, waiting_s, size_bytes in _planned(client, scenario, links, plan.value_s):
                yield LedgerEntry(
                    Source.PLANNED, client.id, round_index, phase, seconds, waiting_s, size_bytes, node=node
                )


def _planned(
    client: RelayClientPlan, scenario: RelayScenario, links: dict[tuple[str, str], RelayLink], value_s: float
) -> Iterator[tuple[Phase, str, float, float, int]]:
    steps, number = scenario.training.local_steps, client.micro_batches
    for part in client.placement:
        for replica in range(part.replicas):
            passes_s = client.runs(part, replica) * (part.forward_s + part.backward_s)
            seconds = steps * (passes_s + part.update_s + part.reduce_s)
            yield _computes(part.node, client.id), machine_name(part.node, replica), seconds, 0.0, 0
    for position, hop in enumerate(client.hops):
        link = links[client.group if position == 0 else hop.source, hop.target]
        name, messages = f"{hop.source}>{hop.target}", 0
        for phase, size_bytes, rate_bps in (
            (Phase.MODEL_DOWNLOAD, hop.exchanged_bytes, link.downlink_bps),
            (Phase.UPLINK, steps * number * hop.sent_bytes, link.uplink_bps),
            (Phase.DOWNLINK, steps * number * hop.returned_bytes, link.downlink_bps),
            (Phase.MODEL_UPLOAD, hop.exchanged_bytes, link.uplink_bps),
        ):
            yield phase, name, bits(size_bytes) / rate_bps, 0.0, size_bytes
            is_exchange = phase in (Phase.MODEL_DOWNLOAD, Phase.MODEL_UPLOAD)
            messages += 0 if size_bytes == 0 else 1 if is_exchange else steps * number
        if link.latency_s and messages:
            yield Phase.PROPAGATION, name, messages * link.latency_s, 0.0, 0
    yield Phase.BARRIER, client.id, 0.0, value_s - client.latency_s, 0


def replayed_entries(played: PlayedRelays, round_index: int) -> Iterator[LedgerEntry]:
    """Return what a replay found of a round.

    Parameters
    ----------
    played
        A replay of one round.
    round_index
        Which round of the run it stands for, from 0.
    """
    delays: dict[tuple[str, str], float] = {}
    sums: dict[tuple[str, Phase, str], tuple[float, float, int]] = {}
    for one in played.spent:
        key = one.client, _phase_of(one), one.place
        seconds, waiting_s, size_bytes = sums.get(key, (0.0, 0.0, 0))
        sums[key] = seconds + one.seconds, waiting_s + one.waiting_s, size_bytes + one.size_bytes
        if one.delay_s:
            delays[one.client, one.place] = delays.get((one.client, one.place), 0.0) + one.delay_s
    for (client, phase, place), (seconds, waiting_s, size_bytes) in sums.items():
        yield LedgerEntry(Source.REPLAYED, client, round_index, phase, seconds, waiting_s, size_bytes, node=place)
    for (client, place), delay_s in delays.items():
        yield LedgerEntry(Source.REPLAYED, client, round_index, Phase.PROPAGATION, delay_s, node=place)
    for client, end_s in played.ends_s.items():
        waiting_s = played.value_s - end_s
        yield LedgerEntry(Source.REPLAYED, client, round_index, Phase.BARRIER, 0.0, waiting_s, node=client)


def _phase_of(one: Spent) -> Phase:
    return _OF_KIND.get(one.kind) or _computes(one.place, one.client)


def _computes(node: str, client: str) -> Phase:
    return Phase.CLIENT_COMPUTE if node == client else Phase.SERVER_COMPUTE
