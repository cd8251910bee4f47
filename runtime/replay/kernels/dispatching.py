"""Who has a shared resource, and who waits for it: the most urgent first, behind them whose links are in a fade."""

from __future__ import annotations

import math
from heapq import heappop, heappush

from hybridsplit.runtime.replay.kernels.dispatch_state import (
    CHANGED,
    DECIDE,
    ENDED,
    NOBODY,
    Client,
    Counts,
    Event,
    Round,
    Shared,
    Wishes,
)  # fmt: skip
from hybridsplit.runtime.replay.kernels.links import LAST_PART, carried_until, link_fade, time_transfer


def push(events: list[Event], counts: Counts, time_s: float, kind: int, who: int) -> int:
    """Ask for an event, and return its number.

    Parameters
    ----------
    events, counts
        The heap, and the count of events.
    time_s, kind, who
        As of an event.
    """
    counts.events += 1
    heappush(events, (time_s, counts.events, who * 8 + kind))
    return counts.events


def decide_soon(
    shared: Shared, counts: Counts, events: list[Event], number: int, now_s: float, moment_s: float
) -> None:
    """Let a resource choose a moment later.

    Parameters
    ----------
    shared, counts, events
        The resource, and the heap.
    number
        Which resource it is.
    now_s, moment_s
        The clock and the moment.
    """
    if not shared.decides:
        shared.decides, shared.decide_s = True, now_s + max(0.0, (now_s + moment_s) - now_s)
        shared.decide_number = push(events, counts, shared.decide_s, DECIDE, number)


def enter(around: Round, events: list[Event], wishes: Wishes, which: int, now_s: float, moment_s: float) -> None:
    """Let a client wait by its key of now; where its link fades or stops fading it does so anew.

    Parameters
    ----------
    around, events, wishes
        Where all stand.
    which
        Which client.
    now_s, moment_s
        The clock and the moment.
    """
    client = around.clients[which]
    job = around.jobs[client.job]
    is_fading, client.change = False, 0
    if job.link >= 0:
        is_fading, changes_s = link_fade(around.links, job.link, now_s - client.origin_s)
        if changes_s < math.inf:
            # Rounding may name a change that has just been: the clock goes on all the same.
            earliest_s = now_s + moment_s
            if earliest_s <= now_s:
                earliest_s = math.nextafter(now_s, math.inf)
            wait_s = max(changes_s + client.origin_s, earliest_s) - now_s
            client.change = push(events, around.counts[0], now_s + max(0.0, wait_s), CHANGED, which)
    client.number += 1
    client.since_s, client.is_fading, client.urgency = now_s, is_fading, job.urgency
    heappush(wishes[job.resource], (is_fading, job.urgency, client.rank, client.number))
    shared = around.shared[job.resource]
    if not shared.decides and (shared.served == NOBODY or _comes_first(client, around.clients[shared.served])):
        decide_soon(shared, around.counts[0], events, job.resource, now_s, moment_s)


def _comes_first(one: Client, other: Client) -> bool:
    """Say whether a client is more urgent than another."""
    if one.is_fading != other.is_fading:
        return other.is_fading
    return one.urgency < other.urgency or (one.urgency == other.urgency and one.rank < other.rank)


def decide(around: Round, events: list[Event], wishes: Wishes, number: int, now_s: float) -> None:
    """Serve the most urgent; another that was served goes on later where it was.

    Parameters
    ----------
    around, events, wishes
        Where all stand.
    number
        Which resource.
    now_s
        The clock.
    """
    shared, waiting = around.shared[number], wishes[number]
    shared.decides = False
    while len(waiting) > 0 and waiting[0][3] != around.clients[around.of_rank[waiting[0][2]]].number:
        heappop(waiting)
    if len(waiting) == 0:
        return
    which, served = around.of_rank[waiting[0][2]], shared.served
    client = around.clients[which]
    if served != NOBODY and _comes_first(around.clients[served], client):
        return
    heappop(waiting)
    client.number += 1
    if served == NOBODY:
        begins_s = max(shared.free_s, client.since_s)
    else:
        begins_s = max(shared.begun_s, client.since_s)
        set_aside(around, shared, begins_s)
        before = around.clients[served]
        before.number += 1
        heappush(waiting, (before.is_fading, before.urgency, before.rank, before.number))
    shared.served, shared.begun_s = which, begins_s
    job = around.jobs[client.job]
    elapsed_s = client.left
    if job.link >= 0:
        elapsed_s, stood_s = carry(around, which, client.left * job.stretch, begins_s)
        client.last_s = elapsed_s - stood_s
    shared.ends_s = begins_s + elapsed_s
    shared.end = push(events, around.counts[0], now_s + max(0.0, shared.ends_s - now_s), ENDED, number)


def carry(around: Round, which: int, needed_bits: float, start_s: float) -> tuple[float, float]:
    """Return how long a transfer takes and how much of it the link stood still; one without an end is noted.

    Parameters
    ----------
    around, which
        Where all stand, and whose transfer it is.
    needed_bits, start_s
        What has to be carried at the recorded rates, and when.
    """
    client, counts = around.clients[which], around.counts[0]
    place = around.links.places[around.jobs[client.job].link]
    elapsed_s, stood_s = time_transfer(around.links.sums, place, needed_bits, start_s - client.origin_s)
    if math.isnan(elapsed_s):
        counts.failed, counts.needed_bits, counts.start_s = which, needed_bits, start_s - client.origin_s
        return 0.0, 0.0
    return elapsed_s, stood_s


def set_aside(around: Round, shared: Shared, at_s: float) -> None:
    """Take a resource away from the client that has it, which keeps what is done.

    Parameters
    ----------
    around, shared
        Where all stand, and the resource.
    at_s
        When.
    """
    client = around.clients[shared.served]
    job = around.jobs[client.job]
    if job.link < 0:
        client.left -= at_s - shared.begun_s
    else:
        sums, place = around.links.sums, around.links.places[job.link]
        begun_bits, before_s = carried_until(sums, place, shared.begun_s - client.origin_s)
        ended_bits, until_s = carried_until(sums, place, at_s - client.origin_s)
        left_bits = client.left - max(0.0, ended_bits - begun_bits) * job.scale
        client.left = left_bits if left_bits > LAST_PART * job.size_bits else 0.0
        client.served_s += max(0.0, until_s - before_s)
    shared.served = NOBODY
