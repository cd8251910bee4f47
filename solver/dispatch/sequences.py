"""What an option does on the shared resources in a round, as a sequence of timed jobs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.jobs import SHARED, Resource, StatedCosts, round_jobs
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.three_part import NO_HEAD, HeadCosts
from hybridsplit.solver.problem.links import dedicated_s
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.problem.three_part import HeadArrays

UPLINK, DOWNLINK, SERVER = range(len(SHARED))
"""Index of every shared resource in a walk."""


class Served(NamedTuple):
    """One job on a shared resource.

    Parameters
    ----------
    resource
        Index into :data:`hybridsplit.scenarios.contracts.jobs.SHARED`.
    duration_s
        Seconds at the whole resource.
    lag_s
        Seconds from the end of the job before, or from where the clients met, until it is ready: on the device, and on
        the way.
    remaining_s
        Seconds that the client's round takes alone, from the job's start on.
    phase
        What it is part of.
    """

    resource: int
    duration_s: float
    lag_s: float
    remaining_s: float
    phase: Phase


class Segment(NamedTuple):
    """The jobs of a client between two meetings of all clients, and the seconds after the last of them."""

    jobs: tuple[Served, ...]
    end_lag_s: float


Sequence = tuple[Segment, ...]
"""A client's round: one segment, or one for every step where all clients wait for the slowest between steps."""


class _Amounts(NamedTuple):
    """All that a sequence depends on; rows of alike clients have equal ones.

    Parameters
    ----------
    client_compute_s, server_compute_s
        Seconds of the round on the device, and at the whole server.
    bytes
        Of the model's download, of the steps' exchanges up and down, and of the model's upload.
    head
        What of the seconds the head on the client causes, and its bytes, which are not among the others.
    per_byte_s
        Seconds a byte up and down, at the whole band or on the client's own link.
    delays_s
        Of the link up and down.
    is_dedicated
        Whether the link is the client's own.
    upload_every
        Steps from one exchange with the server to the next.
    """

    client_compute_s: float
    server_compute_s: float
    bytes: tuple[int, int, int, int]
    head: HeadCosts
    per_byte_s: tuple[float, float]
    delays_s: tuple[float, float]
    is_dedicated: bool
    upload_every: int


class Sequences:
    """Sequences of a problem's rows, made when they are first asked for; alike clients share theirs.

    Parameters
    ----------
    problem
        The planning problem.
    """

    def __init__(self, problem: PlanningProblem) -> None:
        table, work = problem.options, problem.work
        names = (
            "client_compute_s", "server_compute_s", "uplink_bytes", "model_upload_bytes", "downlink_bytes",
            "model_download_bytes", "upload_every",
        )  # fmt: skip
        self._columns = {name: table[name].to_numpy() for name in names}
        self._head = HeadArrays.of(table) if max(problem.scenario.training.head_block_choices) else None
        own_up_s, own_down_s = dedicated_s(
            problem.clients, problem.client_index, problem.uplink_bits, problem.downlink_bits
        )
        up_s, down_s = work.uplink.seconds(1.0) + own_up_s, work.downlink_s + own_down_s
        self._per_byte_s = (
            up_s / np.maximum(self._columns["uplink_bytes"], 1),
            down_s / np.maximum(self._columns["downlink_bytes"], 1),
        )
        links = [client.link for client in problem.clients]
        self._delays_s = [(link.delay_s(is_up=True), link.delay_s(is_up=False)) for link in links]
        self._is_dedicated = [link.is_dedicated for link in links]
        self._client = problem.client_index.tolist()
        self._work_server_s = work.server_s
        self._steps = problem.scenario.training.local_steps
        self._meets = problem.scenario.training.steps_synchronise
        self._links, self._place = links, table.place.tolist()
        self._made: dict[tuple[float, ...], Sequence] = {}
        self._alike: dict[_Amounts, Sequence] = {}

    def of(self, row: int) -> Sequence:
        """Return the sequence of a row."""
        # Rows of one kind differ by the link alone, and by what a problem says of rates and the server.
        up_s, down_s = self._per_byte_s
        key = (
            self._place[row], id(self._links[self._client[row]]), self._work_server_s.item(row), up_s.item(row),
            down_s.item(row),
        )  # fmt: skip
        found = self._made.get(key)
        if found is None:
            amounts = self._amounts(row)
            found = self._alike.get(amounts)
            if found is None:
                found = self._alike[amounts] = self._make(amounts)
            self._made[key] = found
        return found

    def _amounts(self, row: int) -> _Amounts:
        get = {name: column[row].item() for name, column in self._columns.items()}
        # The problem's figure, since explanations ask what a faster server would change.
        server_s, head = float(self._work_server_s[row]), NO_HEAD
        if self._head is not None:
            head = HeadCosts(*(column[row].item() for column in self._head))
            if head.server_backward_s > 0:
                head = head._replace(server_backward_s=server_s * (head.server_backward_s / get["server_compute_s"]))
        return _Amounts(
            get["client_compute_s"],
            server_s,
            (
                get["model_download_bytes"],
                get["uplink_bytes"] - get["model_upload_bytes"] - head.head_gradient_bytes,
                get["downlink_bytes"] - get["model_download_bytes"] - head.head_features_bytes,
                get["model_upload_bytes"],
            ),
            head,
            (float(self._per_byte_s[0][row]), float(self._per_byte_s[1][row])),
            self._delays_s[self._client[row]],
            self._is_dedicated[self._client[row]],
            get["upload_every"],
        )

    def _make(self, amounts: _Amounts) -> Sequence:
        phases = (Phase.MODEL_DOWNLOAD, Phase.UPLINK, Phase.DOWNLINK, Phase.MODEL_UPLOAD)
        costs = StatedCosts(
            amounts.client_compute_s,
            amounts.server_compute_s,
            dict(zip(phases, amounts.bytes, strict=True)),
            amounts.upload_every,
            amounts.head,
        )
        up_s, down_s = amounts.per_byte_s
        per_unit_s = (up_s, down_s, 1.0)
        delays_s = (*amounts.delays_s, 0.0)
        position = {resource: index for index, resource in enumerate(SHARED)}
        steps: list[list[tuple[int, float, float, Phase]]] = []
        ends_s: list[float] = []
        now: list[tuple[int, float, float, Phase]] = []
        lag_s, step = 0.0, 0
        for job in round_jobs(costs, self._steps, is_dedicated=amounts.is_dedicated):
            if self._meets and job.step > step:
                steps.append(now)
                ends_s.append(lag_s)
                now, lag_s, step = [], 0.0, job.step
            if job.resource is Resource.DEVICE:
                lag_s += job.amount
                continue
            if job.resource not in position:
                which = 0 if job.resource.is_up else 1
                lag_s += job.amount * per_unit_s[which] + delays_s[which]
                continue
            resource = position[job.resource]
            now.append((resource, job.amount * per_unit_s[resource], lag_s, job.phase))
            lag_s = delays_s[resource]
        steps.append(now)
        ends_s.append(lag_s)
        while self._meets and len(steps) < self._steps:
            steps.append([])
            ends_s.append(0.0)
        return _with_remaining(steps, ends_s)


def _with_remaining(steps: list[list[tuple[int, float, float, Phase]]], ends_s: list[float]) -> Sequence:
    segments: list[Segment] = []
    remaining_s = 0.0
    for jobs, end_s in zip(reversed(steps), reversed(ends_s), strict=True):
        remaining_s += end_s
        made: list[Served] = []
        for resource, duration_s, lag_s, phase in reversed(jobs):
            remaining_s += duration_s
            made.append(Served(resource, duration_s, lag_s, remaining_s, phase))
            remaining_s += lag_s
        segments.append(Segment(tuple(reversed(made)), end_s))
    return tuple(reversed(segments))
