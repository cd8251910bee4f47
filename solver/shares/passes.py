"""When clients end whose work overlaps: batch by batch, or part by part, over all clients at once.

With staleness ``D`` the device goes ``F_0 ... F_D, B_0, F_{D+1}, B_1, ...``; uplink, server and downlink take one batch
after another. So every end follows from ends of earlier batches: ``f_t = b_{t-D-1} + F`` (``f_{t-1} + F`` in the
beginning), ``u_t = max(f_t, u_{t-1}) + U_t``, and so on to ``b_t = max(n_t + delay, f_{t+D}) + B``. With ``m``
micro-batches the device goes ``F_0 ... F_{m-1}, B_0 ... B_{m-1}`` in every step, and the last of them has the updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.jobs import BEFORE_EXCHANGE
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, IntArray
from hybridsplit.solver.problem.links import dedicated_s
from hybridsplit.solver.problem.overlap import Overlap
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.problem.updates import UpdateArrays


@dataclass(frozen=True)
class Passes:
    """What ``N`` clients do with each of ``S`` batches, or of ``S = K·m`` micro-batches; arrays [N], or [S, N].

    Parameters
    ----------
    forward_s, server_s, backward_s
        [N] seconds of one batch.
    up_parts, down_parts
        [S, N] parts of the round's seconds on uplink and downlink that carry each batch.
    up_model, down_model
        [N] parts that carry the model.
    up_s, down_s
        [N] seconds of the round on uplink and downlink.
    up_delay_s, down_delay_s
        [S, N] how long what was sent is on its way.
    exchange_delay_s
        [2, N] the same of the model, down and up.
    micro_batches
        ``m``, of all these clients.
    updates_s
        [2, N] what the last micro-batch of a step takes beyond the others, on the device and at the server; None
        without micro-batches.
    """

    forward_s: FloatArray
    server_s: FloatArray
    backward_s: FloatArray
    up_s: FloatArray
    down_s: FloatArray
    up_parts: FloatArray
    down_parts: FloatArray
    up_model: FloatArray
    down_model: FloatArray
    up_delay_s: FloatArray
    down_delay_s: FloatArray
    exchange_delay_s: FloatArray
    micro_batches: int = 1
    updates_s: FloatArray | None = None

    def device_order(self, staleness: int) -> Iterator[tuple[bool, int]]:
        """Yield what the device does one after another: whether forward, and which batch or micro-batch.

        Parameters
        ----------
        staleness
            Batches that go ahead; 0 with micro-batches.
        """
        number, parts = len(self.up_parts), self.micro_batches
        if parts > 1:
            for first in range(0, number, parts):
                yield from ((is_forward, first + part) for is_forward in (True, False) for part in range(parts))
            return
        for position in range(number + staleness):
            if position < number:
                yield True, position
            if position >= staleness:
                yield False, position - staleness

    @property
    def is_last(self) -> BoolArray:
        """[S] whether a micro-batch is the last of its step, which has the updates with it."""
        return np.asarray(np.arange(1, len(self.up_parts) + 1) % self.micro_batches == 0)

    @property
    def server_parts(self) -> FloatArray:
        """[S, N] parts of the round's seconds at the server that each micro-batch takes."""
        update_s = 0.0 if self.updates_s is None else self.updates_s[1]
        seconds = self.server_s + self.is_last[:, None] * update_s
        return np.asarray(seconds / np.maximum(seconds.sum(axis=0), np.finfo(float).tiny))

    def latency_s(self, staleness: int) -> FloatArray:
        """[N] end of every client, all of one staleness."""
        begin_s = self.down_s * self.down_model + self.exchange_delay_s[0]
        device_s = up_s = server_s = down_s = begin_s
        answers_s: list[FloatArray] = []
        is_last = self.is_last
        for is_forward, piece in self.device_order(staleness):
            update = self.updates_s if is_last[piece] else None
            if is_forward:
                device_s = device_s + self.forward_s
                up_s = np.maximum(up_s, device_s) + self.up_s * self.up_parts[piece]
                server_s = np.maximum(server_s, up_s + self.up_delay_s[piece]) + self.server_s
                server_s = server_s if update is None else server_s + update[1]
                down_s = np.maximum(down_s, server_s) + self.down_s * self.down_parts[piece]
                answers_s.append(down_s + self.down_delay_s[piece])
            else:
                device_s = np.maximum(device_s, answers_s[piece]) + self.backward_s
                device_s = device_s if update is None else device_s + update[0]
        return np.asarray(device_s + self.up_s * self.up_model + self.exchange_delay_s[1])


def passes_of(problem: PlanningProblem, rows: IntArray, shares: FloatArray | float) -> Passes:
    """Split the work of some options into batches, as rounds are planned.

    Parameters
    ----------
    problem, rows
        The planning problem, and [N] rows of it, all of one number of micro-batches.
    shares
        [N, 3] shares, or one share of everything.
    """
    micro_batches = 1 if problem.overlap is None else int(problem.overlap.micro_batches[rows[0]])
    steps = problem.scenario.training.local_steps
    pieces = steps * micro_batches
    table, index = problem.options.take(rows), problem.client_index[rows]
    up_s, down_s, server_s = problem.done.take(rows).shared_s(shares)
    own_up_s, own_down_s = dedicated_s(problem.clients, index, problem.uplink_bits[rows], problem.downlink_bits[rows])
    links = [problem.clients[i].link for i in index.tolist()]
    parts = []
    position = np.arange(pieces)[:, None]
    for name, model, is_up in (
        ("uplink_bytes", "model_upload_bytes", True),
        ("downlink_bytes", "model_download_bytes", False),
    ):
        total, exchanged = (table[column].to_numpy(dtype=np.int64) for column in (name, model))
        of_steps, whole = total - exchanged, np.maximum(total, 1)
        each = (of_steps // pieces)[None, :] + (position < (of_steps % pieces)[None, :])
        delay_s = np.array([link.delay_s(is_up=is_up) for link in links])
        parts.append((each / whole, exchanged / whole, (each > 0) * delay_s, (exchanged > 0) * delay_s))
    (up, up_model, up_delay_s, after_s), (down, down_model, down_delay_s, before_s) = parts
    compute_s = table["client_compute_s"].to_numpy(dtype=float)
    updates_s = None
    if micro_batches > 1:
        update = UpdateArrays.of(table)
        compute_s = compute_s - update.client_update_s
        at_share_s = server_s * update.server_update_s / np.maximum(problem.done.server_s[rows], np.finfo(float).tiny)
        server_s = server_s - at_share_s
        updates_s = np.stack([update.client_update_s, at_share_s]) / steps
    compute_s = compute_s / pieces
    before_exchange_s = compute_s * BEFORE_EXCHANGE
    return Passes(
        forward_s=before_exchange_s,
        server_s=server_s / pieces,
        backward_s=compute_s - before_exchange_s,
        up_s=up_s + own_up_s,
        down_s=down_s + own_down_s,
        up_parts=up,
        down_parts=down,
        up_model=up_model,
        down_model=down_model,
        up_delay_s=up_delay_s,
        down_delay_s=down_delay_s,
        exchange_delay_s=np.stack([before_s, after_s]),
        micro_batches=micro_batches,
        updates_s=updates_s,
    )


def with_overlap(
    problem: PlanningProblem, rows: IntArray, shares: FloatArray | float, alone_s: FloatArray
) -> FloatArray:
    """[N] latencies, given those of clients that do one thing after another ([N]).

    Parameters
    ----------
    problem, rows
        The planning problem, and [N] rows of it.
    shares
        [N, 3] shares, or one share of everything.
    alone_s
        [N] latencies without overlap, which those without it keep.
    """
    if problem.overlap is None or not problem.overlaps[rows].any():
        return alone_s
    latency_s = alone_s.copy()
    for own, staleness in alike_orders(problem.overlap, rows):
        given = shares if isinstance(shares, float) else shares[own]
        latency_s[own] = passes_of(problem, rows[own], given).latency_s(staleness)
    return latency_s


def alike_orders(overlap: Overlap, rows: IntArray) -> Iterator[tuple[IntArray, int]]:
    """Yield the places among rows of those that overlap in the same order, and their staleness.

    Parameters
    ----------
    overlap
        What there is to know of all rows.
    rows
        [N] of them.
    """
    kinds = overlap.kinds[rows]
    for kind in np.unique(kinds[overlap.overlaps[rows]], axis=0):
        yield np.flatnonzero((kinds == kind).all(axis=1)), int(kind[0])
