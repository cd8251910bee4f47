"""When clients end whose steps overlap: batch by batch, over all clients at once.

With staleness ``D`` the device goes ``F_0 ... F_D, B_0, F_{D+1}, B_1, ...``; uplink, server and downlink take one batch
after another. So every end follows from ends of earlier batches: ``f_t = b_{t-D-1} + F`` (``f_{t-1} + F`` in the
beginning), ``u_t = max(f_t, u_{t-1}) + U_t``, and so on to ``b_t = max(n_t + delay, f_{t+D}) + B``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.jobs import BEFORE_EXCHANGE
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.links import dedicated_s
from hybridsplit.solver.problem.planning_problem import PlanningProblem


@dataclass(frozen=True)
class Passes:
    """What ``N`` clients do with each of ``S`` batches; arrays [N], or [S, N].

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

    def latency_s(self, staleness: int) -> FloatArray:
        """[N] end of every client, all of one staleness."""
        steps = len(self.up_parts)
        begin_s = self.down_s * self.down_model + self.exchange_delay_s[0]
        device_s = up_s = server_s = down_s = begin_s
        answers_s: list[FloatArray] = []
        for position in range(steps + staleness):
            if position < steps:
                device_s = device_s + self.forward_s
                up_s = np.maximum(up_s, device_s) + self.up_s * self.up_parts[position]
                server_s = np.maximum(server_s, up_s + self.up_delay_s[position]) + self.server_s
                down_s = np.maximum(down_s, server_s) + self.down_s * self.down_parts[position]
                answers_s.append(down_s + self.down_delay_s[position])
            if position >= staleness:
                device_s = np.maximum(device_s, answers_s[position - staleness]) + self.backward_s
        return np.asarray(device_s + self.up_s * self.up_model + self.exchange_delay_s[1])


def passes_of(problem: PlanningProblem, rows: IntArray, shares: FloatArray | float) -> Passes:
    """Split the work of some options into batches, as rounds are planned.

    Parameters
    ----------
    problem, rows
        The planning problem, and [N] rows of it.
    shares
        [N, 3] shares, or one share of everything.
    """
    steps = problem.scenario.training.local_steps
    table, index = problem.options.take(rows), problem.client_index[rows]
    up_s, down_s, server_s = problem.done.take(rows).shared_s(shares)
    own_up_s, own_down_s = dedicated_s(problem.clients, index, problem.uplink_bits[rows], problem.downlink_bits[rows])
    links = [problem.clients[i].link for i in index.tolist()]
    parts = []
    position = np.arange(steps)[:, None]
    for name, model, is_up in (
        ("uplink_bytes", "model_upload_bytes", True),
        ("downlink_bytes", "model_download_bytes", False),
    ):
        total, exchanged = (table[column].to_numpy(dtype=np.int64) for column in (name, model))
        of_steps, whole = total - exchanged, np.maximum(total, 1)
        each = (of_steps // steps)[None, :] + (position < (of_steps % steps)[None, :])
        delay_s = np.array([link.delay_s(is_up=is_up) for link in links])
        parts.append((each / whole, exchanged / whole, (each > 0) * delay_s, (exchanged > 0) * delay_s))
    (up, up_model, up_delay_s, after_s), (down, down_model, down_delay_s, before_s) = parts
    compute_s = table["client_compute_s"].to_numpy(dtype=float) / steps
    before_exchange_s = compute_s * BEFORE_EXCHANGE
    return Passes(
        forward_s=before_exchange_s,
        server_s=server_s / steps,
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
    )


def with_overlap(
    problem: PlanningProblem, rows: IntArray, shares: FloatArray | float, alone_s: FloatArray
) -> FloatArray:
    """[N] latencies, given those of clients that wait for every gradient ([N]).

    Parameters
    ----------
    problem, rows
        The planning problem, and [N] rows of it.
    shares
        [N, 3] shares, or one share of everything.
    alone_s
        [N] latencies without overlap, which those that wait keep.
    """
    staleness = problem.staleness[rows]
    if not staleness.any():
        return alone_s
    latency_s = alone_s.copy()
    for value in np.unique(staleness[staleness > 0]).tolist():
        own = np.flatnonzero(staleness == value)
        given = shares if isinstance(shares, float) else shares[own]
        latency_s[own] = passes_of(problem, rows[own], given).latency_s(value)
    return latency_s
