"""Check who uses which resource when: shares that fit, and turns that follow from the durations, in plain Python.

Shares no code with the solver; the schedule is walked job by job.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from operator import attrgetter

from hybridsplit.scenarios.contracts.jobs import SHARED, Resource
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.schedule import Dispatch, Simultaneous, Turns
from hybridsplit.solver.verify.dispatch import Waits, dispatch_waits
from hybridsplit.solver.verify.durations import LinkFacts, Timed, TimedJobs, timed_jobs
from hybridsplit.solver.verify.phases import LATENCY_TOLERANCE

SHARE_TOLERANCE = 1e-9
_OF_LINK = ("uplink_share", "downlink_share")
_SHARES = (*_OF_LINK, "server_share")
_SHARES_OF = attrgetter(*_SHARES)
_EXCHANGES = (Phase.MODEL_DOWNLOAD, Phase.MODEL_UPLOAD)
_FROM_HEAD_ON = (Phase.HEAD_COMPUTE, Phase.HEAD_UPLINK, Phase.SERVER_BACKWARD, Phase.DOWNLINK)
"""What of a step a client does after what all others do before their heads, on every resource."""


def share_violations(plan: Plan, links: Mapping[str, LinkFacts]) -> Iterator[str]:
    """Yield what is wrong with the order that a schedule names and with the shares of its clients.

    Parameters
    ----------
    plan
        The plan.
    links
        By client, what there is to know of its link: one that nobody shares has no share of uplink and downlink.
    """
    order, ids = _order(plan), [client.id for client in plan.clients]
    if not _is_sound(plan):
        yield "the order of its schedule names a client twice, or one that it does not have"
    elif plan.serves_one_at_a_time:
        if set(order) != set(ids):
            yield "clients are served one after another and the order does not name all of them"
        for name in _SHARES:
            sharing = [client for client in plan.clients if not (name in _OF_LINK and links[client.id].is_dedicated)]
            if any(getattr(client, name) != 1 for client in sharing):
                yield f"clients are served one after another at the whole resources and some {name} is not 1"
    else:
        yield from _totals(plan)
    own = {name for name, link in links.items() if link.is_dedicated}
    for client in plan.clients if own else ():
        if client.id in own and any(getattr(client, name) != 0 for name in _OF_LINK):
            yield f"{client.id}: has a share of uplink or downlink, and its link is its own"


def wait_violations(plan: Plan, local_steps: int, synchronise: bool, links: Mapping[str, LinkFacts]) -> Iterator[str]:
    """Yield where clients do not wait as long as shares and turns have them wait.

    Parameters
    ----------
    plan
        The plan; where its order names others than its clients, there is nothing to walk.
    local_steps
        Steps of a round.
    synchronise
        Whether all clients wait for the slowest between two steps.
    links
        By client, what there is to know of its link.
    """
    schedule, order = plan.schedule, _order(plan)
    if not _is_sound(plan) or (plan.serves_one_at_a_time and len(order) != len(plan.clients)):
        return
    jobs: TimedJobs = {}
    if plan.serves_one_at_a_time or synchronise:
        jobs = timed_jobs(plan.clients, local_steps, links)
    kinds = {id(own): own for own in jobs.values()}
    if not all(timed.seconds >= 0 and math.isfinite(timed.seconds) for own in kinds.values() for timed in own):
        yield "some of its seconds are negative, or no finite numbers"
    elif isinstance(schedule, Dispatch):
        yield from _waits(plan, dispatch_waits(jobs, schedule, plan.round_latency_s, synchronise=synchronise))
    elif isinstance(schedule, Turns):
        yield from _waits(plan, _turn_waits([(name, jobs[name]) for name in order], local_steps, synchronise))
    else:
        yield from _waits(plan, _lane_waits(_chained(plan), jobs, local_steps if synchronise else 1))


def _order(plan: Plan) -> tuple[str, ...]:
    return () if isinstance(plan.schedule, Simultaneous) else plan.schedule.order


def _is_sound(plan: Plan) -> bool:
    """Say whether the order names clients of the plan, each once."""
    order = _order(plan)
    return len(set(order)) == len(order) and set(order) <= {client.id for client in plan.clients}


def _chained(plan: Plan) -> tuple[list[ClientPlan], list[ClientPlan]]:
    """Return the clients that go one after another together, in their order, and those that go by themselves."""
    order = _order(plan)
    if not order:
        return [], list(plan.clients)
    by_id, named = {client.id: client for client in plan.clients}, set(order)
    return [by_id[name] for name in order], [client for client in plan.clients if client.id not in named]


def _totals(plan: Plan) -> Iterator[str]:
    """Check sums of shares; of a group that goes one after another only the largest share counts."""
    together, alone = _chained(plan)
    largest = [tuple(map(max, zip(*map(_SHARES_OF, together), strict=True)))] if together else []
    for name, shares in zip(_SHARES, zip(*largest, *map(_SHARES_OF, alone), strict=True), strict=True):
        total = math.fsum(shares)
        if not total <= 1 + SHARE_TOLERANCE:
            yield f"{name} sums to {total:.12g}, over 1"


def _lane_waits(
    lanes: tuple[list[ClientPlan], list[ClientPlan]], jobs: Mapping[str, list[Timed]], meetings: int
) -> Waits:
    """Walk clients that go one after another, and others by themselves, to each meeting; return who waits how long."""
    waits: Waits = {}
    clock_s = 0.0
    together, alone = lanes
    # Where they meet at the end of the round only, nobody waits but for who goes before.
    walked = [together, *([client] for client in alone)] if meetings > 1 else [together]
    for meeting in range(meetings):
        ends_s: dict[str, float] = {}
        for lane in walked:
            now_s = clock_s
            for client in lane:
                for_what = Phase.BARRIER if meeting else Phase.MODEL_DOWNLOAD
                waits[client.id, for_what] = waits.get((client.id, for_what), 0.0) + now_s - clock_s
                if meetings == 1:
                    now_s += math.fsum(client.phases_s.values())
                else:
                    own = [timed for timed in jobs[client.id] if timed.job.step == meeting]
                    now_s += math.fsum(timed.seconds + timed.delay_s for timed in own)
                ends_s[client.id] = now_s
        clock_s = max(ends_s.values(), default=0.0)
        if meeting < meetings - 1:
            for name, end_s in ends_s.items():
                waits[name, Phase.BARRIER] = waits.get((name, Phase.BARRIER), 0.0) + clock_s - end_s
    return waits


def _turn_waits(ordered: list[tuple[str, list[Timed]]], local_steps: int, synchronise: bool) -> Waits:
    free = dict.fromkeys(Resource, 0.0)
    now = {name: 0.0 for name, _ in ordered}
    waits: Waits = {}

    def do(name: str, timed: Timed) -> None:
        if timed.job.resource not in SHARED:
            now[name] += timed.seconds + timed.delay_s
            return
        start_s = max(now[name], free[timed.job.resource])
        waits[name, timed.job.phase] = waits.get((name, timed.job.phase), 0.0) + start_s - now[name]
        free[timed.job.resource] = start_s + timed.seconds
        now[name] = start_s + timed.seconds + timed.delay_s

    def do_all(step: int, *phases: Phase) -> None:
        for name, jobs in ordered:
            for timed in jobs:
                if timed.job.step == step and timed.job.phase in phases:
                    do(name, timed)

    def do_step(step: int) -> None:
        """Do what comes before the head for all clients, and then what comes after it."""
        later: list[tuple[str, Timed]] = []
        for name, jobs in ordered:
            is_later = False
            for timed in jobs:
                if timed.job.step != step or timed.job.phase in _EXCHANGES:
                    continue
                is_later |= timed.job.phase in _FROM_HEAD_ON
                if is_later:
                    later.append((name, timed))
                else:
                    do(name, timed)
        for name, timed in later:
            do(name, timed)

    do_all(0, Phase.MODEL_DOWNLOAD)
    for step in range(local_steps):
        do_step(step)
        if synchronise and step < local_steps - 1:
            meeting_s = max(now.values())
            for name, end_s in now.items():
                waits[name, Phase.BARRIER] = waits.get((name, Phase.BARRIER), 0.0) + meeting_s - end_s
                now[name] = meeting_s
    do_all(local_steps - 1, Phase.MODEL_UPLOAD)
    return waits


def _waits(plan: Plan, expected: dict[tuple[str, Phase], float]) -> Iterator[str]:
    wanted: dict[str, dict[Phase, float]] = {}
    for (name, phase), seconds in expected.items():
        wanted.setdefault(name, {})[phase] = seconds
    first = plan.clients[0].waiting_s
    for client in plan.clients:
        if client.waiting_s is not first and client.waiting_s.keys() != first.keys():
            yield f"{client.id}: says of other phases than {plan.clients[0].id} how long it waits for them"
        follows = wanted.get(client.id)
        if not (follows or client.waiting_s):
            continue
        follows = follows or {}
        for phase in dict.fromkeys((*client.waiting_s, *follows)):
            found_s, wanted_s = client.waiting_s.get(phase, 0.0), follows.get(phase, 0.0)
            if not abs(found_s - wanted_s) <= LATENCY_TOLERANCE * max(plan.round_latency_s, wanted_s):
                yield f"{client.id}: waits {found_s:.9g} s for {phase}, its schedule gives {wanted_s:.9g} s"
