"""How long the jobs of a planned client take at its shares, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from hybridsplit.scenarios.contracts.jobs import Job, Resource, round_jobs
from hybridsplit.scenarios.contracts.plan import ClientPlan

_DURATIONS = attrgetter(
    "client_compute_s", "server_compute_s", "server_share", "uplink_bytes", "downlink_bytes", "model_upload_bytes",
    "model_download_bytes", "upload_every", "head",
    "micro_batches", "updates",
)  # fmt: skip
"""What the seconds of a client's jobs follow from, besides those of its phases and the delays of its link."""


class LinkFacts(NamedTuple):
    """What a schedule has to know of a link: seconds that a transfer is on its way, and whether nobody shares it."""

    up_delay_s: float
    down_delay_s: float
    is_dedicated: bool


class Timed(NamedTuple):
    """A job with the seconds that it occupies its resource, and those that follow on the way."""

    job: Job
    seconds: float
    delay_s: float


TimedJobs = dict[str, list[Timed]]
"""The jobs of every client's round, in order."""


def timed_jobs(clients: Iterable[ClientPlan], local_steps: int, links: Mapping[str, LinkFacts]) -> TimedJobs:
    """Time the jobs of clients' rounds: once for all that have the same.

    Parameters
    ----------
    clients
        The planned clients.
    local_steps
        Steps of the round.
    links
        Their links, by client.
    """
    found: dict[tuple[Any, ...], list[Timed]] = {}
    jobs: dict[str, list[Timed]] = {}
    for client in clients:
        link = links[client.id]
        kind = (*_DURATIONS(client), *client.phases_s.items(), *link)
        own = found.get(kind)
        if own is None:
            of_round = round_jobs(client, local_steps, is_dedicated=link.is_dedicated)
            own = found[kind] = [Timed(job, _seconds(client, job), _delay_s(job, link)) for job in of_round]
        jobs[client.id] = own
    return jobs


def _seconds(client: ClientPlan, job: Job) -> float:
    if job.resource is Resource.DEVICE:
        return job.amount
    if job.resource is Resource.SERVER:
        return job.amount / client.server_share if client.server_share > 0 else float("inf")
    return client.phases_s.get(job.phase, 0.0) * job.amount / client.phase_bytes(job.phase)


def _delay_s(job: Job, link: LinkFacts) -> float:
    if job.resource.is_up:
        return link.up_delay_s
    return link.down_delay_s if job.resource.is_down else 0.0
