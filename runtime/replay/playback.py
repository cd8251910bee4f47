"""Play a plan through the simulated network, and check that nothing was lost on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.replay.checks import check_arguments, check_attendance, check_plan, check_timeline
from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps
from hybridsplit.runtime.replay.played import PlayedRound, Replay
from hybridsplit.runtime.replay.processes import Timeline, simulate
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.jobs import Job, Resource, round_jobs
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.schedule import SIMULTANEOUS
from hybridsplit.scenarios.errors import ContractError, RunError, UsageError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Client, Scenario

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace


def scenario_of(plan: Plan) -> Scenario:
    """Rebuild the scenario that a plan was made for.

    Parameters
    ----------
    plan
        Its ``scenario`` holds the resolved document.

    Raises
    ------
    ScenarioError
        If the document is not a valid scenario any more.
    """
    return validate_scenario(plan.scenario, f"the scenario inside the {plan.strategy} plan")


def replay(
    plan: Plan,
    scenario: Scenario,
    *,
    num_rounds: int,
    attendance: Attendance | None = None,
    traces: Mapping[str, BandwidthTrace] | None = None,
    compute_scale: Mapping[str, float] | None = None,
    start_offsets_s: Mapping[str, float] | None = None,
    samples_windows: bool = False,
    uses_recorded_rates: bool = False,
    windows_s: Mapping[str, Sequence[float]] | None = None,
) -> Replay:
    """Play a plan through the simulated network.

    Parameters
    ----------
    plan
        Options and shares.
    scenario
        The plan's scenario: links, radio, steps a round and whether they end together, as they do with a shared server
        model (:func:`scenario_of` rebuilds it from the plan).
    num_rounds
        Rounds to replay.
    attendance
        Who takes part in these rounds; drawn from the plan's clients, none of whom fails, when None.
    traces
        Recorded bandwidth by client; it modulates the rate that the plan's share gives, on the uplink and the downlink
        alike. Clients not named have constant links. When None, the traces that the scenario's links name are used.
    compute_scale
        By client, how much longer than planned its device computes: a straggler has more than 1. 1 when not named.
    start_offsets_s
        By client, how long after the first round's start it joins. 0 when not named.
    samples_windows
        Whether every round begins at a point of each recording that is drawn from the scenario's seed, so that rounds
        are samples of it; recordings run on from round to round otherwise.
    uses_recorded_rates
        Whether a client with a recording has the rates of the recording itself, whatever its share.
    windows_s
        By client with a recording, the point of it that every round begins at, instead of drawn ones.

    Returns
    -------
    Replay
        Ledger and rounds.

    Raises
    ------
    UsageError
        If there is no round to replay, the attendance or a window is of another number of rounds, or an argument names
        an unknown client or holds a value out of range.
    ContractError
        If the plan has no clients, names one the scenario lacks, or shares out more than there is.
    ScenarioError
        If a trace that the scenario names cannot be read.
    RunError
        If a client can never finish, or an invariant of the simulation is broken.
    """
    if num_rounds < 1:
        raise UsageError(f"found {num_rounds} rounds to replay; needs at least 1")
    check_plan(plan)
    used_traces = _traces_of(scenario) if traces is None else traces
    scales, offsets_s = compute_scale or {}, start_offsets_s or {}
    known = {client.id for client in plan.clients}
    # The scenario's own traces may name clients that a plan has dropped; what a caller passes may not.
    check_arguments(known, {} if traces is None else traces, scales, offsets_s)
    clients = {client.id: client for client in scenario.expanded_clients()}
    begins_s: Mapping[str, Sequence[float]] = windows_s or {}
    if windows_s is None and samples_windows and used_traces:
        begins_s = _windows_of(used_traces, scenario, num_rounds)
    work = [
        _work(
            client,
            _scenario_client(clients, client.id),
            scenario,
            used_traces.get(client.id),
            scales.get(client.id, 1.0),
            offsets_s.get(client.id, 0.0),
            begins_s.get(client.id),
            uses_recorded_rates=uses_recorded_rates,
        )
        for client in plan.clients
    ]
    present = attendance or draw_attendance(scenario, [client.id for client in plan.clients], num_rounds)
    check_attendance(known, present, num_rounds)
    timeline = simulate(
        work,
        num_rounds,
        plan.schedule,
        synchronise=scenario.training.steps_synchronise,
        attendance=present,
        moment_s=SIMULTANEOUS * plan.round_latency_s,
    )
    check_timeline(plan, timeline, present)
    played = tuple(_rounds(plan, timeline))
    heard = {client: trace for client, trace in used_traces.items() if client in known}
    distinct = _distinct_windows(heard, played) if begins_s and heard else None
    return Replay(tuple(_entries(plan, timeline)), played, distinct)


def _traces_of(scenario: Scenario) -> Mapping[str, BandwidthTrace]:
    if not any(group.link.trace for group in scenario.clients):
        return {}
    from hybridsplit.runtime.replay.trace_files import scenario_traces  # late: constant links need no NumPy

    return scenario_traces(scenario)


def _windows_of(
    traces: Mapping[str, BandwidthTrace], scenario: Scenario, num_rounds: int
) -> dict[str, tuple[float, ...]]:
    from hybridsplit.runtime.replay.windows import draw_windows  # late: constant links need no NumPy

    return draw_windows(traces, scenario.seed, num_rounds)


def _distinct_windows(traces: Mapping[str, BandwidthTrace], played: Sequence[PlayedRound]) -> int:
    from hybridsplit.runtime.replay.windows import distinct_windows

    return distinct_windows(traces, played[-1].simulated_s / len(played))


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
    trace: BandwidthTrace | None,
    compute_scale: float,
    start_offset_s: float,
    windows_s: Sequence[float] | None,
    *,
    uses_recorded_rates: bool,
) -> ClientWork:
    if client.server_compute_s > 0 and client.server_share <= 0:
        raise RunError(
            f"client {client.id}, phase {Phase.SERVER_COMPUTE}: needs {client.server_compute_s:g} s of the server and "
            "has a share of 0, which never ends; make the plan again"
        )
    link = scenario_client.link
    return ClientWork(
        client_id=client.id,
        local_steps=scenario.training.local_steps,
        jobs=_jobs(client, compute_scale, scenario.training.local_steps, is_dedicated=link.is_dedicated),
        server_share=client.server_share,
        uplink_bps=uplink_rate_bps(link, scenario.radio, client.uplink_share),
        downlink_bps=downlink_rate_bps(link, scenario.radio, client.downlink_share),
        uplink_delay_s=link.delay_s(is_up=True),
        downlink_delay_s=link.delay_s(is_up=False),
        trace=trace,
        start_offset_s=start_offset_s,
        windows_s=windows_s,
        uses_recorded_rates=uses_recorded_rates,
        is_dedicated=link.is_dedicated,
    )


def _jobs(client: ClientPlan, compute_scale: float, local_steps: int, *, is_dedicated: bool) -> tuple[Job, ...]:
    jobs = round_jobs(client, local_steps, is_dedicated=is_dedicated)
    if compute_scale == 1.0:
        return jobs
    return tuple(
        replace(job, amount=job.amount * compute_scale) if job.resource is Resource.DEVICE else job for job in jobs
    )


def _entries(plan: Plan, timeline: Timeline) -> Iterator[LedgerEntry]:
    for round_index in range(len(timeline.round_ends_s)):
        for client, rounds in zip(plan.clients, timeline.totals, strict=True):
            for phase, spent in rounds[round_index].items():
                if phase is Phase.PROPAGATION and spent.seconds == 0:
                    continue
                yield LedgerEntry(
                    Source.REPLAYED, client.id, round_index, phase, spent.seconds, spent.waiting_s, spent.bytes
                )


def _rounds(plan: Plan, timeline: Timeline) -> Iterator[PlayedRound]:
    start_s = 0.0
    for index, end_s in enumerate(timeline.round_ends_s):
        latency_s = end_s - start_s
        waits_s = {
            client.id: rounds[index][Phase.BARRIER].waiting_s
            for client, rounds in zip(plan.clients, timeline.totals, strict=True)
            if rounds[index]
        }
        uplink, downlink, server = (
            _utilisation(plan, timeline, index, latency_s, share, phases)
            for share, phases in (
                ("uplink_share", UPLINK_PHASES),
                ("downlink_share", DOWNLINK_PHASES),
                ("server_share", (Phase.SERVER_COMPUTE,)),
            )
        )
        yield PlayedRound(
            round=index,
            latency_s=latency_s,
            simulated_s=end_s,
            uplink_utilisation=uplink,
            downlink_utilisation=downlink,
            server_utilisation=server,
            slowest_client=min(waits_s, key=lambda client: waits_s[client]),
            barrier_wait_s=math.fsum(waits_s.values()) / len(waits_s),
        )
        start_s = end_s


def _utilisation(
    plan: Plan, timeline: Timeline, index: int, latency_s: float, share: str, phases: tuple[Phase, ...]
) -> float:
    served_s = math.fsum(
        getattr(client, share) * math.fsum(rounds[index][phase].seconds for phase in phases)
        for client, rounds in zip(plan.clients, timeline.totals, strict=True)
        if rounds[index]
    )
    return served_s / latency_s if latency_s > 0 else 0.0
