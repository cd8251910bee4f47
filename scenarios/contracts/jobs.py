"""The jobs of a client's round, as data: what is done, on which resource, how much, and in which order.

Planner, verifier and replay read the same jobs and time them each with arithmetic of its own. A client's jobs follow
one another; jobs of several clients meet on the shared resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.three_part import NO_HEAD, HeadCosts
from hybridsplit.scenarios.contracts.updates import NO_UPDATES, UpdateCosts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BEFORE_EXCHANGE = 1 / 3
"""Share of a step's client compute that comes before the exchange with the server.

A backward pass costs about two forward passes, and most modes compute on both sides of the exchange. What the head on
the client computes is known by itself, and no part of it. With constant
shares only the sum enters a round's latency; where clients take turns, or links vary, the split shifts when a transfer
starts.
"""


class Resource(StrEnum):
    """What a job occupies."""

    DEVICE = "device"
    """The client's own device."""
    UPLINK = "uplink"
    DOWNLINK = "downlink"
    SERVER = "server"
    DEDICATED_UPLINK = "dedicated uplink"
    """A link of the client's own, up: it waits for nobody there."""
    DEDICATED_DOWNLINK = "dedicated downlink"
    """The same, down."""

    @property
    def is_up(self) -> bool:
        """Whether it carries from the client to the server."""
        return self in (Resource.UPLINK, Resource.DEDICATED_UPLINK)

    @property
    def is_down(self) -> bool:
        """Whether it carries from the server to the client."""
        return self in (Resource.DOWNLINK, Resource.DEDICATED_DOWNLINK)


SHARED = (Resource.UPLINK, Resource.DOWNLINK, Resource.SERVER)
"""The resources that clients share."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a client in a round.

    Parameters
    ----------
    phase
        What it is part of.
    step
        Step of the round; the exchange of the model belongs to the first and the last.
    resource
        What it occupies.
    amount
        Bytes on a link; elsewhere seconds, at the whole server or on the device.
    micro_batch
        Which part of the step's batch it is for, from 0.
    """

    phase: Phase
    step: int
    resource: Resource
    amount: float
    micro_batch: int = 0


_Counts = TypeVar("_Counts", int, "NDArray[np.int64]")


class RoundCosts(Protocol):
    """What a client's round costs; a plan's client is one."""

    @property
    def client_compute_s(self) -> float:
        """Seconds on the device."""
        ...

    @property
    def server_compute_s(self) -> float:
        """Seconds at the whole server."""
        ...

    @property
    def upload_every(self) -> int:
        """Steps from one exchange with the server to the next."""
        ...

    @property
    def head(self) -> HeadCosts:
        """What of these costs the head on the client causes."""
        ...

    @property
    def micro_batches(self) -> int:
        """Parts that a batch is trained in."""
        ...

    @property
    def updates(self) -> UpdateCosts:
        """What of these costs updates cause, with several of them."""
        ...

    def phase_bytes(self, phase: Phase) -> int:
        """Bytes sent or received in a phase."""
        ...


@dataclass(frozen=True)
class StatedCosts:
    """Costs of a round that no plan has chosen yet.

    Parameters
    ----------
    client_compute_s, server_compute_s
        Seconds on the device, and at the whole server.
    bytes_by_phase
        Bytes of every phase that carries some.
    upload_every
        Steps from one exchange with the server to the next.
    head
        What of the seconds the head on the client causes; its bytes are phases of their own.
    micro_batches, updates
        Parts that a batch is trained in, and what of the seconds updates cause then.
    """

    client_compute_s: float
    server_compute_s: float
    bytes_by_phase: Mapping[Phase, int]
    upload_every: int = 1
    head: HeadCosts = NO_HEAD
    micro_batches: int = 1
    updates: UpdateCosts = NO_UPDATES

    def phase_bytes(self, phase: Phase) -> int:
        """Bytes sent or received in a phase."""
        return self.bytes_by_phase.get(phase, 0)


def round_jobs(costs: RoundCosts, local_steps: int, *, is_dedicated: bool = False) -> tuple[Job, ...]:
    """List the jobs of a client's round, in the order in which it does them; jobs of nothing are left out.

    Smashed data go up, and the server works, in every ``upload_every``-th step from the first on. With the head on the
    client the server works twice, before and after the head. Bytes are whole: what does not divide by these steps goes
    with the first ones. Jobs of several micro-batches of a step stand micro-batch by micro-batch: the device does its
    first job of all of them, then its second of all of them, and every other resource takes them in order.

    Parameters
    ----------
    costs
        What the round costs.
    local_steps
        Steps of the round.
    is_dedicated
        Whether the client's link is its own.
    """
    model_down, up, down, model_up = (costs.phase_bytes(phase) for phase in _CARRYING)
    return _jobs(
        costs.client_compute_s, costs.server_compute_s, model_down, up, down, model_up, local_steps, is_dedicated,
        costs.upload_every, costs.head, costs.micro_batches, costs.updates,
    )  # fmt: skip


_CARRYING = (Phase.MODEL_DOWNLOAD, Phase.UPLINK, Phase.DOWNLINK, Phase.MODEL_UPLOAD)


@lru_cache(maxsize=4096)
def _jobs(
    client_compute_s: float,
    server_compute_s: float,
    model_download_bytes: int,
    uplink_bytes: int,
    downlink_bytes: int,
    model_upload_bytes: int,
    local_steps: int,
    is_dedicated: bool,
    upload_every: int,
    head: HeadCosts,
    micro_batches: int,
    updates: UpdateCosts,
) -> tuple[Job, ...]:
    """List jobs; remembered, since alike clients have the same, and every stage asks for them."""
    if micro_batches > 1:
        seconds = client_compute_s, server_compute_s
        sizes = model_download_bytes, uplink_bytes, downlink_bytes, model_upload_bytes
        return _divided_jobs(seconds, sizes, local_steps, micro_batches, updates, is_dedicated=is_dedicated)
    compute_s = (client_compute_s - head.head_compute_s) / local_steps
    exchanges = num_exchanges(local_steps, upload_every)
    before_s, server_s = compute_s * BEFORE_EXCHANGE, (server_compute_s - head.server_backward_s) / exchanges
    uplink = Resource.DEDICATED_UPLINK if is_dedicated else Resource.UPLINK
    downlink = Resource.DEDICATED_DOWNLINK if is_dedicated else Resource.DOWNLINK
    jobs = [Job(Phase.MODEL_DOWNLOAD, 0, downlink, model_download_bytes)]
    for step in range(local_steps):
        which, is_silent = divmod(step, upload_every)
        up, down = (_part(total, which, exchanges) for total in (uplink_bytes, downlink_bytes))
        if is_silent:
            jobs.append(Job(Phase.CLIENT_COMPUTE, step, Resource.DEVICE, compute_s))
            continue
        jobs += [
            Job(Phase.CLIENT_COMPUTE, step, Resource.DEVICE, before_s),
            Job(Phase.UPLINK, step, uplink, up),
            Job(Phase.SERVER_COMPUTE, step, Resource.SERVER, server_s),
            Job(Phase.HEAD_DOWNLINK, step, downlink, _part(head.head_features_bytes, which, exchanges)),
            Job(Phase.HEAD_COMPUTE, step, Resource.DEVICE, head.head_compute_s / local_steps),
            Job(Phase.HEAD_UPLINK, step, uplink, _part(head.head_gradient_bytes, which, exchanges)),
            Job(Phase.SERVER_BACKWARD, step, Resource.SERVER, head.server_backward_s / exchanges),
            Job(Phase.DOWNLINK, step, downlink, down),
            Job(Phase.CLIENT_COMPUTE, step, Resource.DEVICE, compute_s - before_s),
        ]
    jobs.append(Job(Phase.MODEL_UPLOAD, local_steps - 1, uplink, model_upload_bytes))
    return tuple(job for job in jobs if job.amount > 0)


def _divided_jobs(
    seconds: tuple[float, float],
    sizes: tuple[int, int, int, int],
    local_steps: int,
    micro_batches: int,
    updates: UpdateCosts,
    *,
    is_dedicated: bool,
) -> tuple[Job, ...]:
    """List the jobs of a round of several micro-batches; the last of a step has the updates with it."""
    model_download_bytes, uplink_bytes, downlink_bytes, model_upload_bytes = sizes
    pieces, last = local_steps * micro_batches, micro_batches - 1
    compute_s = (seconds[0] - updates.client_update_s) / pieces
    before_s, server_s = compute_s * BEFORE_EXCHANGE, (seconds[1] - updates.server_update_s) / pieces
    after_s = compute_s - before_s
    client_update_s, server_update_s = updates.client_update_s / local_steps, updates.server_update_s / local_steps
    uplink = Resource.DEDICATED_UPLINK if is_dedicated else Resource.UPLINK
    downlink = Resource.DEDICATED_DOWNLINK if is_dedicated else Resource.DOWNLINK
    jobs = [Job(Phase.MODEL_DOWNLOAD, 0, downlink, model_download_bytes)]
    for piece in range(pieces):
        step, number = divmod(piece, micro_batches)
        up, down = (_part(total, piece, pieces) for total in (uplink_bytes, downlink_bytes))
        of_client, of_server = (client_update_s, server_update_s) if number == last else (0.0, 0.0)
        jobs += [
            Job(Phase.CLIENT_COMPUTE, step, Resource.DEVICE, before_s, number),
            Job(Phase.UPLINK, step, uplink, up, number),
            Job(Phase.SERVER_COMPUTE, step, Resource.SERVER, server_s + of_server, number),
            Job(Phase.DOWNLINK, step, downlink, down, number),
            Job(Phase.CLIENT_COMPUTE, step, Resource.DEVICE, after_s + of_client, number),
        ]
    jobs.append(Job(Phase.MODEL_UPLOAD, local_steps - 1, uplink, model_upload_bytes))
    return tuple(job for job in jobs if job.amount > 0)


def num_exchanges(local_steps: int, upload_every: _Counts) -> _Counts:
    """Count the steps of a round in which smashed data go up: the first, and every ``upload_every``-th from there.

    Parameters
    ----------
    local_steps, upload_every
        Steps of the round, and from one exchange to the next; an array of the latter gives an array.
    """
    return -(-local_steps // upload_every)


def crossings(costs: RoundCosts, local_steps: int) -> tuple[int, int]:
    """Count the transfers of a round, up and down: each is delayed once by the propagation of its link.

    Parameters
    ----------
    costs, local_steps
        As of :func:`round_jobs`.
    """
    exchanges = num_exchanges(local_steps, costs.upload_every) * costs.micro_batches
    up, down = (
        min(costs.phase_bytes(every_step), exchanges) + min(of_head, exchanges) + (costs.phase_bytes(model) > 0)
        for every_step, of_head, model in (
            (Phase.UPLINK, costs.head.head_gradient_bytes, Phase.MODEL_UPLOAD),
            (Phase.DOWNLINK, costs.head.head_features_bytes, Phase.MODEL_DOWNLOAD),
        )
    )
    return up, down


def _part(total: int, step: int, steps: int) -> int:
    return total // steps + (step < total % steps)
