"""Check who uses which resource when: shares that fit, and turns that follow from the durations, in plain Python.

Shares no code with the solver; the schedule is walked job by job.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from hybridsplit.scenarios.contracts.phases import FORWARD_FRACTION, Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.schedule import Simultaneous, Turns

SHARE_TOLERANCE = 1e-9
LATENCY_TOLERANCE = 1e-6
_SHARES = ("uplink_share", "downlink_share", "server_share")


def schedule_violations(plan: Plan, local_steps: int, synchronise: bool) -> Iterator[str]:
    """Yield what is wrong with the shares and turns of a plan.

    Parameters
    ----------
    plan
        The plan.
    local_steps
        Steps of a round.
    synchronise
        Whether all clients wait for the slowest between two steps.
    """
    schedule, ids = plan.schedule, [client.id for client in plan.clients]
    order = () if isinstance(schedule, Simultaneous) else schedule.order
    if len(set(order)) != len(order) or not set(order) <= set(ids):
        yield "the order of its schedule names a client twice, or one that it does not have"
        return
    by_id = {client.id: client for client in plan.clients}
    ordered = [by_id[name] for name in order]
    if isinstance(schedule, Turns):
        if set(order) != set(ids):
            yield "clients take turns and the order does not name all of them"
            return
        for name in _SHARES:
            if any(getattr(client, name) != 1 for client in plan.clients):
                yield f"clients take turns at the whole resources and some {name} is not 1"
        yield from _waits(plan, _turn_waits(ordered, local_steps, synchronise))
        return
    others = [[client] for client in plan.clients if client.id not in set(order)]
    lanes = [*others, ordered] if ordered else others
    yield from _totals(plan, lanes)
    yield from _waits(plan, _lane_waits(lanes, local_steps if synchronise else 1))


def _totals(plan: Plan, groups: list[list[ClientPlan]]) -> Iterator[str]:
    """Check sums of shares; of a group that goes one after another only the largest share counts."""
    for name in _SHARES:
        total = math.fsum(max((getattr(client, name) for client in group), default=0.0) for group in groups)
        if not total <= 1 + SHARE_TOLERANCE:
            yield f"{name} sums to {total:.12g}, over 1"


def _lane_waits(lanes: list[list[ClientPlan]], meetings: int) -> dict[tuple[str, Phase], float]:
    """Walk the clients of every lane, one after another, to each meeting of all clients; return who waits how long."""
    waits: dict[tuple[str, Phase], float] = {}
    clock_s = 0.0
    if meetings == 1:
        # They meet at the end of the round only, so that nobody waits but for who goes before in its own lane.
        lanes = [lane for lane in lanes if len(lane) > 1]
    for meeting in range(meetings):
        ends_s: dict[str, float] = {}
        for lane in lanes:
            now_s = clock_s
            for client in lane:
                for_what = Phase.BARRIER if meeting else Phase.MODEL_DOWNLOAD
                waits[client.id, for_what] = waits.get((client.id, for_what), 0.0) + now_s - clock_s
                now_s += _until_meeting_s(client, meeting, meetings)
                ends_s[client.id] = now_s
        clock_s = max(ends_s.values(), default=0.0)
        if meeting < meetings - 1:
            for name, end_s in ends_s.items():
                waits[name, Phase.BARRIER] = waits.get((name, Phase.BARRIER), 0.0) + clock_s - end_s
    return waits


def _until_meeting_s(client: ClientPlan, meeting: int, meetings: int) -> float:
    """Return the seconds that a client is busy between two meetings: a step, and the model's exchange at the ends."""
    phases = client.phases_s
    if meetings == 1:
        return math.fsum(phases.values())
    busy_s = [
        (client.client_compute_s + phases.get(Phase.SERVER_COMPUTE, 0.0)) / meetings,
        _step_s(client, Phase.UPLINK, meeting, meetings),
        _step_s(client, Phase.DOWNLINK, meeting, meetings),
    ]
    if meeting == 0:
        busy_s.append(phases.get(Phase.MODEL_DOWNLOAD, 0.0))
    if meeting == meetings - 1:
        busy_s.append(phases.get(Phase.MODEL_UPLOAD, 0.0))
    return math.fsum(busy_s)


def _turn_waits(ordered: list[ClientPlan], local_steps: int, synchronise: bool) -> dict[tuple[str, Phase], float]:
    free = dict.fromkeys(("uplink", "downlink", "server"), 0.0)
    now = {client.id: 0.0 for client in ordered}
    waits: dict[tuple[str, Phase], float] = {}

    def serve(resource: str, client: ClientPlan, phase: Phase, seconds: float) -> None:
        if seconds <= 0:
            return
        start_s = max(now[client.id], free[resource])
        waits[client.id, phase] = waits.get((client.id, phase), 0.0) + start_s - now[client.id]
        now[client.id] = free[resource] = start_s + seconds

    for client in ordered:
        serve("downlink", client, Phase.MODEL_DOWNLOAD, client.phases_s.get(Phase.MODEL_DOWNLOAD, 0.0))
    for step in range(local_steps):
        for client in ordered:
            now[client.id] += client.client_compute_s / local_steps * FORWARD_FRACTION
            serve("uplink", client, Phase.UPLINK, _step_s(client, Phase.UPLINK, step, local_steps))
            serve("server", client, Phase.SERVER_COMPUTE, client.server_compute_s / local_steps)
            serve("downlink", client, Phase.DOWNLINK, _step_s(client, Phase.DOWNLINK, step, local_steps))
            now[client.id] += client.client_compute_s / local_steps * (1 - FORWARD_FRACTION)
        if synchronise and step < local_steps - 1:
            meeting_s = max(now.values())
            for name, end_s in now.items():
                waits[name, Phase.BARRIER] = waits.get((name, Phase.BARRIER), 0.0) + meeting_s - end_s
                now[name] = meeting_s
    for client in ordered:
        serve("uplink", client, Phase.MODEL_UPLOAD, client.phases_s.get(Phase.MODEL_UPLOAD, 0.0))
    return waits


def _step_s(client: ClientPlan, phase: Phase, step: int, local_steps: int) -> float:
    """Return the seconds of one step of a phase: whole bytes, what does not divide on the first steps."""
    total = client.phase_bytes(phase)
    if total <= 0:
        return 0.0
    size = total // local_steps + (1 if step < total % local_steps else 0)
    return client.phases_s.get(phase, 0.0) * size / total


def _waits(plan: Plan, expected: dict[tuple[str, Phase], float]) -> Iterator[str]:
    wanted: dict[str, dict[Phase, float]] = {}
    for (name, phase), seconds in expected.items():
        wanted.setdefault(name, {})[phase] = seconds
    for client in plan.clients:
        follows = wanted.get(client.id, {})
        for phase in dict.fromkeys((*client.waiting_s, *follows)):
            found_s, wanted_s = client.waiting_s.get(phase, 0.0), follows.get(phase, 0.0)
            if not abs(found_s - wanted_s) <= LATENCY_TOLERANCE * max(plan.round_latency_s, wanted_s):
                yield f"{client.id}: waits {found_s:.9g} s for {phase}, its schedule gives {wanted_s:.9g} s"
