"""Rows whose work overlaps: what bounds their round from below, linear in what each phase takes.

With staleness ``D`` a client goes forward with batch ``t + D`` before it goes backward with batch ``t``, so that a
round of ``K`` steps is the longest of many chains of jobs. Five of them hold whatever the shares: one after another the
jobs of the device; of uplink, server and downlink, each with the other jobs of the first and the last batch; and whole
passes, of which at most ``D + 1`` are under way (docs/methods/planning.md, Steps that overlap; our reconstruction).
With ``m`` micro-batches every step is the longest of some chains: all jobs of the device, or all of one resource's with
the other jobs of one micro-batch (there, Batches in parts). Any mixture of them is a bound as well, and of the form
that the search is made for: a constant, and a multiple of the seconds on each resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.jobs import BEFORE_EXCHANGE
from hybridsplit.scenarios.contracts.option_rows import Rows
from hybridsplit.scenarios.schema import Client, Radio
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, Index, IntArray
from hybridsplit.solver.problem.costs import Work
from hybridsplit.solver.problem.links import uplink_work
from hybridsplit.solver.problem.updates import UpdateArrays

NUM_CHAINS = 5
_BYTES, _MODEL_BYTES = ("uplink_bytes", "downlink_bytes"), ("model_upload_bytes", "model_download_bytes")
_MIXING_STEPS = 12
_PARTS = np.linspace(0.0, 1.0, 17)
_LEAST_SLACK = 1e-9


@dataclass(frozen=True)
class Overlap:
    """What there is to know of rows, where some of them overlap.

    Parameters
    ----------
    staleness, micro_batches
        [K] of every row.
    done
        [K] the work that is really done; the problem's own ``work`` is a bound for rows that overlap.
    chains
        [K, 5, 4] of every chain the constant seconds, and the multiples of the seconds of uplink, downlink and server;
        of a row that does not overlap all are its round.
    """

    staleness: IntArray
    micro_batches: IntArray
    done: Work
    chains: FloatArray

    def take(self, index: Index) -> Overlap:
        """Return the rows of an index."""
        return Overlap(self.staleness[index], self.micro_batches[index], self.done.take(index), self.chains[index])

    @property
    def overlaps(self) -> BoolArray:
        """[K] whether several batches, or parts of one, are under way at a time."""
        return np.asarray((self.staleness > 0) | (self.micro_batches > 1))

    @property
    def kinds(self) -> IntArray:
        """[K, 2] staleness and micro-batches, by which rows take the same order."""
        return np.stack([self.staleness, self.micro_batches], axis=1)


def chains_of(
    frame: Rows,
    client_index: IntArray,
    clients: Sequence[Client],
    steps: int,
    own_s: tuple[FloatArray, FloatArray],
    done: Work,
) -> FloatArray:
    """[K, 5, 4] the chains of every row.

    Parameters
    ----------
    frame, client_index, clients
        Rows of an option table, the client of each, and the clients.
    steps
        Local steps of a round.
    own_s
        [K] seconds up and [K] down on links of the clients' own.
    done
        [K] the work of a round.
    """
    links = [client.link for client in clients]
    delay = [np.array([link.delay_s(is_up=up) for link in links])[client_index] for up in (True, False)]
    staleness, micro_batches = (frame[name].to_numpy(dtype=np.int64) for name in ("staleness", "micro_batches"))
    parts = []
    for every, model in zip(_BYTES, _MODEL_BYTES, strict=True):
        total, exchanged = (frame[name].to_numpy(dtype=np.int64) for name in (every, model))
        of_steps, whole = total - exchanged, np.maximum(total, 1)
        # What does not divide by the steps goes with the first ones: of one step, so much is certain.
        parts.append((of_steps / whole, (of_steps // steps) / whole, exchanged / whole, exchanged > 0, of_steps > 0))
    (up, up_once, up_model, has_upload, sends), (down, down_once, down_model, has_download, hears) = parts
    compute_s = frame["client_compute_s"].to_numpy(dtype=float)
    on_way_s = delay[0] * sends + delay[1] * hears
    exchange_s = delay[0] * has_upload + delay[1] * has_download
    one_s, rest = compute_s / steps, steps - 1
    laps = -(-steps // (staleness + 1))
    after_laps = rest - (laps - 1) * (staleness + 1)
    nothing, once = np.zeros(len(frame)), np.full(len(frame), 1.0 / steps)
    of_chain = (
        # constant, part of uplink, of downlink, of the server; without the exchange of the model
        (compute_s, nothing, nothing, nothing),
        (one_s + on_way_s, up, down_once, once),
        (one_s + on_way_s, up_once, down_once, np.ones(len(frame))),
        (one_s + on_way_s, up_once, down, once),
        (
            laps * (one_s + on_way_s) + after_laps * one_s * (1 - BEFORE_EXCHANGE),
            laps * up_once,
            laps * down_once,
            laps * once,
        ),
    )
    chains = np.stack([np.stack(one, axis=1) for one in of_chain], axis=1)
    divided = micro_batches > 1
    if divided.any():
        chains = np.where(divided[:, None, None], _divided_chains(frame, steps, delay, done.server_s), chains)
    chains += np.stack([exchange_s, up_model, down_model, nothing], axis=1)[:, None, :]
    chains[:, :, 0] += chains[:, :, 1] * own_s[0][:, None] + chains[:, :, 2] * own_s[1][:, None]
    waits = (staleness == 0) & ~divided
    chains[waits] = np.stack([done.compute_s, *np.ones((3, len(frame)))], axis=1)[waits][:, None, :]
    return np.asarray(chains)


def _divided_chains(frame: Rows, steps: int, delay_s: Sequence[FloatArray], server_s: FloatArray) -> FloatArray:
    """[K, 5, 4] the chains of rows with micro-batches, without the exchange of the model and links of their own.

    Of a resource's chain the last micro-batch has the updates with it, where nothing after it is on the chain too.
    """
    number = frame["micro_batches"].to_numpy(dtype=np.int64)
    pieces = steps * number
    update = UpdateArrays.of(frame)
    compute_s = frame["client_compute_s"].to_numpy(dtype=float)
    passes_s = compute_s - update.client_update_s
    links = []
    for every, model, delay in zip(_BYTES, _MODEL_BYTES, delay_s, strict=True):
        total, exchanged = (frame[name].to_numpy(dtype=np.int64) for name in (every, model))
        of_steps, whole = total - exchanged, np.maximum(total, 1)
        # What does not divide by all micro-batches goes with the first ones: of one in every step, so much is certain.
        links.append((of_steps / whole, (of_steps // pieces) * steps / whole, (of_steps >= pieces) * steps * delay))
    (up, up_once, up_delay_s), (down, down_once, down_delay_s) = links
    updating = update.server_update_s / np.maximum(server_s, np.finfo(float).tiny)
    once = (1 - updating) / number
    one_s = passes_s / number + update.client_update_s + up_delay_s + down_delay_s
    backwards_s = one_s + (number - 1) / number * (1 - BEFORE_EXCHANGE) * passes_s
    nothing = np.zeros(len(frame))
    of_chain = (
        (compute_s, nothing, nothing, nothing),
        (one_s, up, down_once, once + updating),
        (one_s, up_once, down_once, np.ones(len(frame))),
        (one_s, up_once, down, once),
        (backwards_s, up_once, down_once, once),
    )
    return np.stack([np.stack(one, axis=1) for one in of_chain], axis=1)


def bounding_work(
    overlap: Overlap,
    weights: FloatArray,
    radio: Radio,
    clients: tuple[Client, ...],
    client_index: IntArray,
    uplink_bits: FloatArray,
) -> Work:
    """[K] work whose latency is a lower bound on that of every row that overlaps; that of the others as it is.

    Parameters
    ----------
    overlap
        The rows.
    weights
        [K, 5] how chains are mixed; each row sums to 1.
    radio, clients, client_index, uplink_bits
        What the uplink of every row follows from.
    """
    ahead = overlap.overlaps
    mixed = np.einsum("kj,kjr->kr", weights, overlap.chains)
    done = overlap.done
    return Work(
        np.where(ahead, mixed[:, 0], done.compute_s),
        uplink_work(radio, clients, client_index, np.where(ahead, mixed[:, 1], 1.0) * uplink_bits),
        np.where(ahead, mixed[:, 2], 1.0) * done.downlink_s,
        np.where(ahead, mixed[:, 3], 1.0) * done.server_s,
    )


def tightest_weights(overlap: Overlap, prices: FloatArray, deadline_s: float) -> FloatArray:
    """[K, 5] mixtures of chains that make rows as dear as they can at prices, for a deadline.

    The least priced use that keeps one mixture within the deadline is ``(Σ √(price·work))² / (deadline − constant)``;
    the dearest mixture is that of all chains together (a minimax). It is found by steps towards single chains.

    Parameters
    ----------
    overlap
        The rows.
    prices
        [3] of the whole uplink, downlink and server.
    deadline_s
        The deadline; of a chain that alone takes longer, it is mixed in fully.
    """
    full_s = np.stack([overlap.done.uplink.seconds(1.0), overlap.done.downlink_s, overlap.done.server_s], axis=1)
    with np.errstate(invalid="ignore"):
        priced = np.where(full_s > 0, full_s, 0.0) * np.maximum(prices, 1e-12 * max(float(prices.max()), 1e-300))

    def cost(weights: FloatArray) -> FloatArray:
        mixed = np.einsum("...j,...jr->...r", weights, overlap.chains[:, None] if weights.ndim == 3 else overlap.chains)
        root = np.sqrt(mixed[..., 1:] * (priced[:, None] if weights.ndim == 3 else priced)).sum(axis=-1)
        return np.asarray(root * root / np.maximum(deadline_s - mixed[..., 0], _LEAST_SLACK * deadline_s))

    rows = np.arange(len(overlap.chains))
    single = np.eye(NUM_CHAINS)
    costs = np.stack([cost(np.broadcast_to(one, (len(rows), NUM_CHAINS))) for one in single], axis=1)
    best = single[np.argmax(costs, axis=1)]
    value = costs.max(axis=1)
    for step in range(_MIXING_STEPS):
        towards = single[step % NUM_CHAINS]
        tried = (1 - _PARTS)[None, :, None] * best[:, None, :] + _PARTS[None, :, None] * towards
        found = cost(tried)
        which = np.argmax(found, axis=1)
        better = found[rows, which] > value
        best = np.where(better[:, None], tried[rows, which], best)
        value = np.where(better, found[rows, which], value)
    return np.asarray(best)
