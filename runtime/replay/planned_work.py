"""What a plan gives each of its clients to do in a round, with the rates of its shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.jobs import Job, Resource, round_jobs
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.errors import ContractError, RunError
from hybridsplit.scenarios.schema import Client, Scenario

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.memory_trace import MemoryTrace
    from hybridsplit.runtime.replay.memory_walk import Ladder
    from hybridsplit.runtime.replay.traces import BandwidthTrace

_ALIKE = attrgetter(
    "client_compute_s", "server_compute_s", "uplink_bytes", "downlink_bytes", "model_upload_bytes",
    "model_download_bytes", "uplink_share", "downlink_share", "upload_every", "head",
    "micro_batches", "updates",
)  # fmt: skip
"""What jobs and rates of clients on one link follow from."""


class _Pace(NamedTuple):
    """Jobs of a round, and how fast and late a client's link carries what they send."""

    jobs: tuple[Job, ...]
    uplink_bps: float
    downlink_bps: float
    uplink_delay_s: float
    downlink_delay_s: float


@dataclass(frozen=True)
class Circumstances:
    """What clients meet in a replay, by client; those who are not named meet nothing.

    Parameters
    ----------
    traces, windows_s
        Recorded links, and the point of each that every round begins at.
    memory, memory_windows_s
        Recorded memory, likewise.
    compute_scale
        How much longer than planned a device computes.
    start_offsets_s
        How long after the first round's start it joins.
    uses_recorded_rates
        Whether recorded rates are the links' own.
    """

    traces: Mapping[str, BandwidthTrace] = field(default_factory=dict)
    windows_s: Mapping[str, Sequence[float]] = field(default_factory=dict)
    memory: Mapping[str, MemoryTrace] = field(default_factory=dict)
    memory_windows_s: Mapping[str, Sequence[float]] = field(default_factory=dict)
    compute_scale: Mapping[str, float] = field(default_factory=dict)
    start_offsets_s: Mapping[str, float] = field(default_factory=dict)
    uses_recorded_rates: bool = False


def work_of(plan: Plan, scenario: Scenario, met: Circumstances) -> list[ClientWork]:
    """Return the work of all clients of a plan; alike ones share what follows from the plan alone.

    Parameters
    ----------
    plan, scenario
        The plan and its scenario.
    met
        What its clients meet.

    Raises
    ------
    ContractError
        If the plan has a client that the scenario lacks.
    RunError
        If a client has work at the server and no share of it.
    """
    clients = {client.id: client for client in scenario.expanded_clients()}
    paces: dict[tuple[object, ...], _Pace] = {}
    return [_work(client, _scenario_client(clients, client.id), scenario, met, paces) for client in plan.clients]


def _scenario_client(clients: Mapping[str, Client], client_id: str) -> Client:
    if client_id not in clients:
        raise ContractError(
            f"the plan has the client {client_id}, which the scenario does not; needs the scenario it was made for"
        )
    return clients[client_id]


def _work(
    client: ClientPlan,
    scenario_client: Client,
    scenario: Scenario,
    met: Circumstances,
    paces: dict[tuple[object, ...], _Pace],
) -> ClientWork:
    if client.server_compute_s > 0 and client.server_share <= 0:
        raise RunError(
            f"client {client.id}, phase {Phase.SERVER_COMPUTE}: needs {client.server_compute_s:g} s of the server and "
            "has a share of 0, which never ends; make the plan again"
        )
    link, local_steps = scenario_client.link, scenario.training.local_steps
    scale = met.compute_scale.get(client.id, 1.0)
    kind = (id(link), scale, *_ALIKE(client))
    pace = paces.get(kind)
    if pace is None:
        pace = paces[kind] = _Pace(
            _jobs(client, scale, local_steps, is_dedicated=link.is_dedicated),
            uplink_rate_bps(link, scenario.radio, client.uplink_share),
            downlink_rate_bps(link, scenario.radio, client.downlink_share),
            link.delay_s(is_up=True),
            link.delay_s(is_up=False),
        )
    return ClientWork(
        client_id=client.id,
        local_steps=local_steps,
        jobs=pace.jobs,
        server_share=client.server_share,
        uplink_bps=pace.uplink_bps,
        downlink_bps=pace.downlink_bps,
        uplink_delay_s=pace.uplink_delay_s,
        downlink_delay_s=pace.downlink_delay_s,
        trace=met.traces.get(client.id),
        start_offset_s=met.start_offsets_s.get(client.id, 0.0),
        windows_s=met.windows_s.get(client.id),
        uses_recorded_rates=met.uses_recorded_rates,
        is_dedicated=link.is_dedicated,
        ladder=_ladder(client, scenario_client, met) if client.levels else None,
        memory_windows_s=met.memory_windows_s.get(client.id),
        staleness=client.staleness,
        micro_batches=client.micro_batches,
    )


def _ladder(client: ClientPlan, scenario_client: Client, met: Circumstances) -> Ladder:
    from hybridsplit.runtime.replay.memory_walk import Ladder  # late: few plans have ladders

    trace, wanted = met.memory.get(client.id), scenario_client.memory
    if trace is None:
        raise ContractError(
            f"the plan gives {client.id} a ladder, and no memory over time is known for it; needs "
            "clients[].memory_trace in the scenario it was made for"
        )
    skips = wanted is not None and wanted.below_floor == "skip"
    scale = met.compute_scale.get(client.id, 1.0)
    exchanges = client.server_compute_s > 0 or client.uplink_bytes > client.model_upload_bytes
    return Ladder(client.levels, trace.capped(client.memory_budget_bytes), scale, exchanges=exchanges, skips=skips)


def _jobs(client: ClientPlan, compute_scale: float, local_steps: int, *, is_dedicated: bool) -> tuple[Job, ...]:
    jobs = round_jobs(client, local_steps, is_dedicated=is_dedicated)
    if compute_scale == 1.0:
        return jobs
    return tuple(
        replace(job, amount=job.amount * compute_scale) if job.resource is Resource.DEVICE else job for job in jobs
    )
