"""The jobs of clients on constant links, with their seconds: once for all clients that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.jobs import Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase


class TimedJob(NamedTuple):
    """A job of constant speed.

    Parameters
    ----------
    phase, step, resource
        As of the job.
    seconds
        Seconds for which it has its resource.
    bytes
        What it carries over the air.
    delay_s
        How long that is on its way afterwards.
    """

    phase: Phase
    step: int
    resource: Resource
    seconds: float
    bytes: int
    delay_s: float


TimedSteps = tuple[tuple[TimedJob, ...], ...]
"""The jobs of a round, by step."""


class TimedWork:
    """Times the jobs of clients, and finds again what alike clients have had timed.

    Parameters
    ----------
    work
        All clients, whose jobs are compared as objects: alike clients of a plan have the same ones.
    """

    def __init__(self, work: Sequence[ClientWork]) -> None:
        self._work = work
        self._found: dict[tuple[object, ...], TimedSteps] = {}

    def steps(self, client: int, extra_download_bytes: int) -> TimedSteps:
        """Return the jobs of a client's round in which so many bytes come down beyond the plan's.

        Parameters
        ----------
        client
            Its place among all clients; its links must be constant.
        extra_download_bytes
            The bytes.

        Raises
        ------
        RunError
            If the client has no share of a link, or one that never ends.
        """
        item = self._work[client]
        kind = (
            id(item.jobs), item.server_share, item.uplink_bps, item.downlink_bps, item.uplink_delay_s,
            item.downlink_delay_s, item.is_dedicated, extra_download_bytes,
        )  # fmt: skip
        found = self._found.get(kind)
        if found is None:
            found = tuple(tuple(_timed(item, job) for job in step) for step in item.steps(extra_download_bytes))
            self._found[kind] = found
        return found


def _timed(item: ClientWork, job: Job) -> TimedJob:
    if job.resource is Resource.DEVICE:
        return TimedJob(job.phase, job.step, job.resource, job.amount, 0, 0.0)
    if job.resource is Resource.SERVER:
        return TimedJob(job.phase, job.step, job.resource, item.server_s(job), 0, 0.0)
    seconds = item.transfer(job, 0.0).elapsed_s
    return TimedJob(job.phase, job.step, job.resource, seconds, int(job.amount), item.delay_s(job.resource))
