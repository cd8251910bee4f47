"""When every client ends, and what it waits for, under each schedule of a round.

``turns`` is a permutation flow shop with re-entry: in every step each client passes uplink, server and downlink in one
order. A resource's job ``j`` ends at ``max(ready_j, end_{j−1}) + d_j``, which unrolls to a running maximum of
``ready_j − Σ_{l<j} d_l`` plus a running sum, so a step costs three scans over the clients.

Where the clients share one server model, all of them wait for the slowest after every step but the last: a round of
``K ≥ 2`` steps then takes ``max(d + s_1) + max(s_2) + ... + max(s_K + u)``, with ``d, u`` a client's exchange of the
model and ``s_k`` its steps. Turns are taken within each step, and so is a chain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.jobs import BEFORE_EXCHANGE, num_exchanges
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, Phase
from hybridsplit.scenarios.contracts.schedule import Chain, Dispatch, Schedule, Simultaneous, Turns
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.dispatch.timing import dispatch_timing
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.links import dedicated_s
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.problem.three_part import HeadArrays
from hybridsplit.solver.shares.passes import with_overlap

_SERVED = (Phase.MODEL_DOWNLOAD, Phase.UPLINK, Phase.SERVER_COMPUTE, Phase.DOWNLINK, Phase.MODEL_UPLOAD)


@dataclass(frozen=True)
class Timing:
    """When clients end.

    Parameters
    ----------
    latency_s
        [N] end of every client, from the start of the round, seconds.
    waiting_s
        [N] seconds that every client waits for its turn, by phase; empty where no client waits.
    """

    latency_s: FloatArray
    waiting_s: dict[Phase, FloatArray]


@dataclass(frozen=True)
class Jobs:
    """What ``N`` clients do in a round at their shares, step by step; arrays [N], or [S, N] for ``S`` steps.

    ``up_delay_s`` and ``down_delay_s`` are on the way: they follow every transfer and occupy nothing. What a client
    does on a link of its own, with its delay, is part of ``forward_s``, ``head_s`` and ``backward_s``. With the head on
    the client, the server works before ``head_down_s`` and, for ``server_backward_s``, after ``head_up_s``.
    """

    model_download_s: FloatArray
    forward_s: FloatArray
    uplink_s: FloatArray
    server_s: FloatArray
    head_down_s: FloatArray
    head_s: FloatArray
    head_up_s: FloatArray
    server_backward_s: FloatArray
    downlink_s: FloatArray
    backward_s: FloatArray
    model_upload_s: FloatArray
    up_delay_s: FloatArray
    down_delay_s: FloatArray

    def ordered(self, order: IntArray) -> Jobs:
        """Return the jobs with clients in the given order ([N] indices)."""
        return Jobs(*(getattr(self, name)[..., order] for name in self.__dataclass_fields__))

    @property
    def between_meetings_s(self) -> FloatArray:
        """[S, N] seconds of every step, the first with the model's download and the last with its upload."""
        seconds = self.forward_s + self.uplink_s + self.server_s + self.downlink_s + self.backward_s
        seconds += (self.uplink_s > 0) * self.up_delay_s + (self.downlink_s > 0) * self.down_delay_s
        seconds += self.head_down_s + self.head_s + self.head_up_s + self.server_backward_s
        seconds += (self.head_up_s > 0) * self.up_delay_s + (self.head_down_s > 0) * self.down_delay_s
        seconds[0] += self.model_download_s + (self.model_download_s > 0) * self.down_delay_s
        seconds[-1] += self.model_upload_s + (self.model_upload_s > 0) * self.up_delay_s
        return np.asarray(seconds)


def jobs_of(problem: PlanningProblem, rows: IntArray, shares: FloatArray | float = 1.0) -> Jobs:
    """Split the options' work of a round into jobs; bytes that do not divide by the exchanges go with the first ones.

    Parameters
    ----------
    problem, rows
        The planning problem, and [N] the row of every client.
    shares
        [N, 3] shares, or one share of everything.
    """
    steps = problem.scenario.training.local_steps
    table = problem.options.take(rows)
    uplink_s, downlink_s, server_s = problem.done.take(rows).shared_s(shares)
    up_bytes, up_model = (table[name].to_numpy() for name in ("uplink_bytes", "model_upload_bytes"))
    down_bytes, down_model = (table[name].to_numpy() for name in ("downlink_bytes", "model_download_bytes"))
    per_up_byte, per_down_byte = uplink_s / np.maximum(up_bytes, 1), downlink_s / np.maximum(down_bytes, 1)
    every = table["upload_every"].to_numpy(dtype=np.int64)
    exchanges = num_exchanges(steps, every)
    which, is_silent = np.divmod(np.arange(steps)[:, None], every[None, :])

    def spread(total: IntArray) -> FloatArray:
        each = (total // exchanges)[None, :] + (which < (total % exchanges)[None, :]).astype(float)
        return np.where(is_silent, 0.0, each)

    head = HeadArrays.of(table)
    compute_s = (table["client_compute_s"].to_numpy(dtype=float) - head.head_compute_s) / steps
    up_steps = spread(up_bytes - up_model - head.head_gradient_bytes)
    down_steps = spread(down_bytes - down_model - head.head_features_bytes)
    head_down, head_up = spread(head.head_features_bytes), spread(head.head_gradient_bytes)
    per_server_s = server_s / np.maximum(table["server_compute_s"].to_numpy(dtype=float), np.finfo(float).tiny)
    server_backward_s = head.server_backward_s * per_server_s
    head_s = np.broadcast_to(head.head_compute_s / steps, up_steps.shape)
    links = [problem.clients[i].link for i in problem.client_index[rows].tolist()]
    up_delay_s, down_delay_s = (np.array([link.delay_s(is_up=is_up) for link in links]) for is_up in (True, False))
    forward_s = np.broadcast_to(compute_s * BEFORE_EXCHANGE, up_steps.shape)
    backward_s = np.broadcast_to(compute_s - compute_s * BEFORE_EXCHANGE, up_steps.shape)
    if any(link.is_dedicated for link in links):
        own = np.array([link.is_dedicated for link in links])
        one_byte = np.full(len(rows), bits(1))
        per_up, per_down = dedicated_s(problem.clients, problem.client_index[rows], one_byte, one_byte)

        def carried(size: FloatArray, per_byte_s: FloatArray, delay_s: FloatArray) -> FloatArray:
            return np.where(own & (size > 0), size * per_byte_s + delay_s, 0.0)

        forward_s = forward_s + carried(up_steps, per_up, up_delay_s)
        backward_s = backward_s + carried(down_steps, per_down, down_delay_s)
        head_s = head_s + carried(head_down, per_down, down_delay_s) + carried(head_up, per_up, up_delay_s)
        forward_s[0] += carried(down_model, per_down, down_delay_s)
        backward_s[-1] += carried(up_model, per_up, up_delay_s)
    return Jobs(
        model_download_s=down_model * per_down_byte,
        forward_s=forward_s,
        uplink_s=up_steps * per_up_byte,
        server_s=np.where(is_silent, 0.0, (server_s - server_backward_s) / exchanges),
        head_down_s=head_down * per_down_byte,
        head_s=head_s,
        head_up_s=head_up * per_up_byte,
        server_backward_s=np.where(is_silent, 0.0, server_backward_s / exchanges),
        downlink_s=down_steps * per_down_byte,
        backward_s=backward_s,
        model_upload_s=up_model * per_up_byte,
        up_delay_s=up_delay_s,
        down_delay_s=down_delay_s,
    )


def turns_timing(jobs: Jobs, *, synchronise: bool = False) -> Timing:
    """Time the clients, in the order of the jobs, when each resource serves them in that order.

    Where some have the head on the client, a resource serves what comes before the heads of all first, and then what
    comes after them.

    Parameters
    ----------
    jobs
        What they do.
    synchronise
        Whether all wait for the slowest between two steps.
    """
    steps, num = jobs.uplink_s.shape
    free = {"up": 0.0, "server": 0.0, "down": 0.0}
    has_heads = jobs.head_s.any() or jobs.server_backward_s.any()
    served = (*_SERVED, *HEAD_PHASES) if has_heads else _SERVED
    waiting: dict[Phase, FloatArray] = {phase: np.zeros(num) for phase in served if phase is not Phase.HEAD_COMPUTE}
    if synchronise:
        waiting[Phase.BARRIER] = np.zeros(num)

    def serve(resource: str, phase: Phase, ready: FloatArray, duration: FloatArray) -> FloatArray:
        used = duration > 0
        if not used.any():
            return ready
        length = duration[used]
        before = np.cumsum(length) - length
        start = before + np.maximum.accumulate(np.maximum(ready[used], free[resource]) - before)
        # Rounding may leave the difference slightly below zero.
        waiting[phase][used] += np.maximum(start - ready[used], 0.0)
        end = ready.copy()
        end[used] = start + length
        free[resource] = float(end[used][-1])
        return end

    def carry(resource: str, phase: Phase, ready: FloatArray, duration: FloatArray) -> FloatArray:
        delay_s = jobs.up_delay_s if resource == "up" else jobs.down_delay_s
        return serve(resource, phase, ready, duration) + (duration > 0) * delay_s

    now = carry("down", Phase.MODEL_DOWNLOAD, np.zeros(num), jobs.model_download_s)
    for step in range(steps):
        now = carry("up", Phase.UPLINK, now + jobs.forward_s[step], jobs.uplink_s[step])
        now = serve("server", Phase.SERVER_COMPUTE, now, jobs.server_s[step])
        now = carry("down", Phase.HEAD_DOWNLINK, now, jobs.head_down_s[step]) + jobs.head_s[step]
        now = carry("up", Phase.HEAD_UPLINK, now, jobs.head_up_s[step])
        now = serve("server", Phase.SERVER_BACKWARD, now, jobs.server_backward_s[step])
        now = carry("down", Phase.DOWNLINK, now, jobs.downlink_s[step]) + jobs.backward_s[step]
        if synchronise and step < steps - 1:
            waiting[Phase.BARRIER] += now.max() - now
            now = np.full(num, now.max())
    now = carry("up", Phase.MODEL_UPLOAD, now, jobs.model_upload_s)
    return Timing(now, waiting)


def steps_timing(jobs: Jobs, chain: IntArray) -> Timing:
    """Time the clients when all wait for the slowest between two steps.

    Parameters
    ----------
    jobs
        What they do.
    chain
        [M] clients that do each step one after another, in order; empty where all work at once.
    """
    seconds = jobs.between_meetings_s
    turn_s = np.zeros_like(seconds)
    turn_s[:, chain] = np.cumsum(seconds[:, chain], axis=1) - seconds[:, chain]
    ends_s = turn_s + seconds
    meetings_s = ends_s[:-1].max(axis=1, keepdims=True)
    barrier_s = (meetings_s - ends_s[:-1]).sum(axis=0) + turn_s[1:].sum(axis=0)
    waiting = {Phase.BARRIER: barrier_s} | ({Phase.MODEL_DOWNLOAD: turn_s[0]} if len(chain) else {})
    return Timing(float(meetings_s.sum()) + ends_s[-1], waiting)


def timing_of(problem: PlanningProblem, rows: IntArray, shares: FloatArray, schedule: Schedule) -> Timing:
    """Time a plan.

    Parameters
    ----------
    problem
        The planning problem.
    rows
        [N] row of the problem for every client.
    shares
        [N, 3] shares; all 1 where clients take turns.
    schedule
        The schedule; its orders name the clients that are not dropped.
    """
    if isinstance(schedule, Dispatch):
        return Timing(*dispatch_timing(problem, rows, schedule))
    alone_s = problem.done.take(rows).latency_s(shares)
    synchronise = problem.scenario.training.steps_synchronise
    position = {client.id: i for i, client in enumerate(problem.clients)}
    names = () if isinstance(schedule, Simultaneous) else schedule.order
    order = np.array([position[name] for name in names], dtype=np.int64)
    if synchronise and not isinstance(schedule, Turns):
        return steps_timing(jobs_of(problem, rows, shares), order)
    if isinstance(schedule, Simultaneous):
        return Timing(with_overlap(problem, rows, shares, alone_s), {})
    if isinstance(schedule, Chain):
        start_s = np.zeros(problem.num_clients)
        start_s[order] = np.cumsum(alone_s[order]) - alone_s[order]
        return Timing(start_s + alone_s, {Phase.MODEL_DOWNLOAD: start_s})
    timing = turns_timing(jobs_of(problem, rows[order]), synchronise=synchronise)
    latency_s, waiting = np.zeros(problem.num_clients), {}
    latency_s[order] = timing.latency_s
    for phase, seconds in timing.waiting_s.items():
        waiting[phase] = np.zeros(problem.num_clients)
        waiting[phase][order] = seconds
    return Timing(latency_s, waiting)
