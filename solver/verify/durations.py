"""How long the jobs of a planned client take at its shares, in plain Python."""

from __future__ import annotations

from typing import NamedTuple

from hybridsplit.scenarios.contracts.jobs import Job, Resource, round_jobs
from hybridsplit.scenarios.contracts.plan import ClientPlan

Delays = tuple[float, float]
"""Seconds that a transfer is on its way, up and down."""


class Timed(NamedTuple):
    """A job with the seconds that it occupies its resource, and those that follow on the way."""

    job: Job
    seconds: float
    delay_s: float


def timed_jobs(client: ClientPlan, local_steps: int, delays_s: Delays) -> list[Timed]:
    """Time the jobs of a client's round.

    Parameters
    ----------
    client
        The planned client.
    local_steps
        Steps of the round.
    delays_s
        Of its link.
    """
    return [Timed(job, _seconds(client, job), _delay_s(job, delays_s)) for job in round_jobs(client, local_steps)]


def _seconds(client: ClientPlan, job: Job) -> float:
    if job.resource is Resource.DEVICE:
        return job.amount
    if job.resource is Resource.SERVER:
        return job.amount / client.server_share if client.server_share > 0 else float("inf")
    return client.phases_s.get(job.phase, 0.0) * job.amount / client.phase_bytes(job.phase)


def _delay_s(job: Job, delays_s: Delays) -> float:
    if job.resource is Resource.UPLINK:
        return delays_s[0]
    return delays_s[1] if job.resource is Resource.DOWNLINK else 0.0
