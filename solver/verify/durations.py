"""How long the jobs of a planned client take at its shares, in plain Python."""

from __future__ import annotations

from typing import NamedTuple

from hybridsplit.scenarios.contracts.jobs import Job, Resource, round_jobs
from hybridsplit.scenarios.contracts.plan import ClientPlan


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


def timed_jobs(client: ClientPlan, local_steps: int, link: LinkFacts) -> list[Timed]:
    """Time the jobs of a client's round.

    Parameters
    ----------
    client
        The planned client.
    local_steps
        Steps of the round.
    link
        Its link.
    """
    jobs = round_jobs(client, local_steps, is_dedicated=link.is_dedicated)
    return [Timed(job, _seconds(client, job), _delay_s(job, link)) for job in jobs]


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
