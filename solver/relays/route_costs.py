"""What machines and links of a route take, for every span of blocks, as plain arrays."""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import IntArray, MicroBatchCosts, RelayCosts
from hybridsplit.scenarios.relays.network import RelayLink, RelayNode
from hybridsplit.scenarios.relays.schema import RelayClients, RelayScenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.chain.values import FloatArray


def machine_seconds(
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
        busy = span_sums(part.forward_s[device] + part.backward_s[device]) / share
        node_s[k][rising] = busy[rising]
        forward_s[k][rising] = (span_sums(part.forward_s[device]) / share)[rising]
        update_s[k][rising] = (span_sums(costs.update_s[device]) / share)[rising]
    return node_s, forward_s, update_s, most


def further_sums(scenario: RelayScenario, number: int, replicas: int) -> int:
    """Return how many sums of gradients a machine holds beyond the first, that of another replica at the end included.

    Parameters
    ----------
    number, replicas
        Micro-batches of a step, and machines that share them.
    """
    return -(-min(scenario.training.partial_sums, number) // replicas) - 1 + (replicas > 1)


def reduction(
    gradients: FloatArray, machines: list[RelayClients | RelayNode], replicas: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """Seconds and bytes [K, L + 1, L + 1] of adding up gradients: in log2(r) turns, each pair swaps its sums."""
    turns = np.array([count.bit_length() - 1 for count in replicas])[:, None, None]
    sent = turns * gradients[None]
    rates = [(machine.replica_bps if isinstance(machine, RelayNode) else None) or np.inf for machine in machines]
    return bits(1) * sent / np.array(rates)[:, None, None], sent


def span_sums(of_block: FloatArray | IntArray) -> FloatArray:
    """[L + 1, L + 1] sums of the blocks after a cut up to another."""
    before = np.concatenate([[0.0], np.cumsum(of_block)])
    return np.asarray(np.maximum(before[None, :] - before[:, None], 0.0))


def memory_bytes(costs: RelayCosts, part: MicroBatchCosts, *, trains: bool) -> tuple[FloatArray, FloatArray]:
    """[L + 1, L + 1] peak bytes with one micro-batch in flight, and what each further one adds.

    Parameters, gradients and optimizer state stand; a micro-batch in flight holds what came in and what its blocks
    keep; one block at a time has its excess, beside the gradient of what goes out. An upper estimate: the largest
    excess is taken beside all that is kept.
    """
    size = costs.num_blocks + 1
    running = np.zeros((size, size))
    for a in range(size - 1):
        running[a, a + 1 :] = np.maximum.accumulate(part.running_bytes[a:])
    held = span_sums(part.kept_bytes) + part.sent_bytes[:, None]
    peak = span_sums(costs.standing_bytes + costs.trained_bytes) + held + running
    if trains:
        peak = peak + part.returned_bytes[None, :]
    rising = np.triu(np.ones((size, size), dtype=bool), 1)
    return np.where(rising, peak, 0.0), np.where(rising, held, 0.0)


def link_seconds(
    part: MicroBatchCosts, links: list[RelayLink]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Seconds of a micro-batch [K - 1, L + 1] up and down at every cut, and its delays."""
    up = np.array([bits(1) * part.sent_bytes / link.uplink_bps for link in links])
    down = np.array([bits(1) * part.returned_bytes / link.downlink_bps for link in links])
    up_delay = np.array([np.where(part.sent_bytes > 0, link.latency_s, 0.0) for link in links])
    down_delay = np.array([np.where(part.returned_bytes > 0, link.latency_s, 0.0) for link in links])
    return up, down, up_delay, down_delay


def exchange_seconds(costs: RelayCosts, links: list[RelayLink]) -> tuple[FloatArray, FloatArray]:
    """Seconds [K - 1, L + 1, 2] of the blocks before a cut on every link, down and up, and delays of both."""
    size = np.concatenate([[0.0], np.cumsum(costs.exchanged_bytes)])
    seconds = np.stack(
        [np.stack([bits(1) * size / link.downlink_bps, bits(1) * size / link.uplink_bps], axis=1) for link in links]
    )
    delays = np.array([np.where(size > 0, 2 * link.latency_s, 0.0) for link in links])
    return seconds, delays
