"""What a simulated client has to do in a round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay.transfer import Transfer
from hybridsplit.scenarios.contracts.jobs import Job, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.units import bits

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.memory_walk import Ladder
    from hybridsplit.runtime.replay.traces import BandwidthTrace


@dataclass(frozen=True)
class ClientWork:
    """What one client has to do in a round, with the rates its shares give it.

    Parameters
    ----------
    client_id
        Its id.
    local_steps
        Steps of a round.
    jobs
        The jobs of a round, in order; server seconds are at the whole server.
    server_share
        Its share of the server.
    uplink_bps, downlink_bps
        Rates at the client's shares; 0 where it has none.
    uplink_delay_s, downlink_delay_s
        Propagation of every transfer.
    trace
        Modulates both rates around their planned value; None for constant links.
    start_offset_s
        How long after the first round's start the client joins.
    windows_s
        By round, the point of the trace that the round's start falls on; the trace runs on from round to round when
        None.
    uses_recorded_rates
        Whether the trace's rates are those of the link, instead of modulating the planned ones.
    is_dedicated
        Whether the link is the client's own.
    ladder
        The recompute orders that it chooses from by its memory; None where every step is as planned.
    memory_windows_s
        As ``windows_s``, of the recorded memory.
    staleness
        Batches that go forward before the client waits for a gradient.
    micro_batches
        Parts of a batch, all of which go forward before it does.
    """

    client_id: str
    local_steps: int
    jobs: tuple[Job, ...]
    server_share: float
    uplink_bps: float
    downlink_bps: float
    uplink_delay_s: float = 0.0
    downlink_delay_s: float = 0.0
    trace: BandwidthTrace | None = None
    start_offset_s: float = 0.0
    windows_s: Sequence[float] | None = None
    uses_recorded_rates: bool = False
    is_dedicated: bool = False
    ladder: Ladder | None = None
    memory_windows_s: Sequence[float] | None = None
    staleness: int = 0
    micro_batches: int = 1

    @property
    def overlaps(self) -> bool:
        """Whether several batches, or parts of one, are under way at a time."""
        return self.staleness > 0 or self.micro_batches > 1

    def steps(self, extra_download_bytes: int = 0) -> list[list[Job]]:
        """Return the jobs of every step of a round in which so many bytes come down beyond the plan's."""
        steps: list[list[Job]] = [[] for _ in range(self.local_steps)]
        for job in self.jobs:
            steps[job.step].append(job)
        if extra_download_bytes > 0:
            first = steps[0][0] if steps[0] and steps[0][0].phase is Phase.MODEL_DOWNLOAD else None
            size = extra_download_bytes + (0 if first is None else first.amount)
            downlink = Resource.DEDICATED_DOWNLINK if self.is_dedicated else Resource.DOWNLINK
            download = Job(Phase.MODEL_DOWNLOAD, 0, downlink, size)
            steps[0] = [download, *steps[0][0 if first is None else 1 :]]
        return steps

    def left_s(self, urgency_s: float) -> Mapping[tuple[Phase, int], float]:
        """Return, by phase and step, the seconds from a job on at constant links, and the urgency."""
        left: dict[tuple[Phase, int], float] = {}
        total_s = urgency_s
        for job in reversed(self.jobs):
            total_s += self._planned_s(job)
            left[job.phase, job.step] = total_s
        return left

    def _planned_s(self, job: Job) -> float:
        if job.resource is Resource.DEVICE:
            return job.amount
        if job.resource is Resource.SERVER:
            return self.server_s(job)
        rate_bps = self.rate_bps(job.resource)
        return bits(job.amount) / rate_bps + self.delay_s(job.resource) if rate_bps > 0 else math.inf

    def server_s(self, job: Job) -> float:
        """Return the seconds of a server job at the client's share."""
        return job.amount / self.server_share

    def rate_bps(self, resource: Resource) -> float:
        """Return the planned rate of a link."""
        return self.uplink_bps if resource.is_up else self.downlink_bps

    def delay_s(self, resource: Resource, time_s: float | None = None) -> float:
        """Return the propagation of a link: at a time of the trace, where the trace knows it."""
        trace = None if time_s is None else self.trace_of(resource)
        recorded_s = None if trace is None or time_s is None else trace.delay_s(time_s)
        if recorded_s is not None:
            return recorded_s
        return self.uplink_delay_s if resource.is_up else self.downlink_delay_s

    def trace_origin_s(self, round_index: int, began_s: float) -> float:
        """Return the clock at which the trace stands at its beginning, in a round that began at ``began_s``."""
        return 0.0 if self.windows_s is None else began_s - self.windows_s[round_index]

    def memory_origin_s(self, round_index: int, began_s: float) -> float:
        """Return the same for the recorded memory."""
        return 0.0 if self.memory_windows_s is None else began_s - self.memory_windows_s[round_index]

    def mean_bps(self, resource: Resource) -> float | None:
        """Return the mean to which the trace is scaled on a link; None where its rates are the link's."""
        is_absolute = self.uses_recorded_rates or (self.trace is not None and self.trace.is_absolute)
        return None if is_absolute else self.rate_bps(resource)

    def trace_of(self, resource: Resource) -> BandwidthTrace | None:
        """Return the trace that transfers over a link go by; None where its rate is constant."""
        return None if self.trace is None else self.trace.towards(up=resource.is_up)

    def transfer(self, job: Job, start_s: float) -> Transfer:
        """Return how long the bytes of a job take, from a point of the trace on.

        Raises
        ------
        RunError
            If the client has no share of the link, or one that never ends.
        """
        self.check(job)
        size_bits, trace = bits(job.amount), self.trace_of(job.resource)
        if trace is None:
            return Transfer(size_bits / self.rate_bps(job.resource), 0.0)
        return trace.transfer(size_bits, start_s, self.mean_bps(job.resource))

    def check(self, job: Job) -> None:
        """Refuse a transfer that never ends.

        Raises
        ------
        RunError
            If the client has no share of the link, or one that never ends.
        """
        rate_bps = self.rate_bps(job.resource)
        if not (rate_bps > 0 and math.isfinite(rate_bps) and math.isfinite(bits(job.amount) / rate_bps)):
            raise RunError(
                f"client {self.client_id}, phase {job.phase}: has {job.amount:g} bytes to carry at {rate_bps} bit/s, "
                f"which never ends; needs a share of the {job.resource} above zero and a link that carries something: "
                "the plan gives this client no share, or its link is out of reach; make the plan again or correct the "
                "link"
            )
