"""A round by priority, walked event by event, in the order in which the simulation has its events.

What SimPy does of :mod:`hybridsplit.runtime.replay.dispatch` within :mod:`hybridsplit.runtime.replay.processes`,
without its processes: a heap of events and one of wishes for each shared resource.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

from hybridsplit.runtime.replay.kernels.dispatch_state import (
    BY_ITSELF,
    CHANGED,
    DECIDE,
    DELIVERED,
    ENDED,
    MET,
    NOBODY,
    SERVED,
    STARTS,
    Client,
    Counts,
    Event,
    Round,
    Starts,
    Void,
    Wish,
    Wishes,
)  # fmt: skip
from hybridsplit.runtime.replay.kernels.dispatching import carry, decide, decide_soon, enter, push, set_aside
from hybridsplit.runtime.replay.kernels.jobs import BARRIER, COLUMNS, DOWNLOAD, MEETING, PROPAGATION, Spent
from hybridsplit.runtime.replay.kernels.links import LAST_PART, delay_at
from hybridsplit.scenarios.compiled.borrowing import borrowed


def walk_round(
    around: Round, spent: Spent, starts: Starts, void: list[Void], began_s: float, moment_s: float
) -> tuple[float, list[Wish], list[Wish], list[Wish]]:
    """Walk all clients through a round, and return when it ends, NaN where a transfer has no end; and void wishes.

    Parameters
    ----------
    around, spent
        Where all stand and what they spend, which is brought up to date.
    starts
        How clients begin.
    void
        Void wishes of the round before: a resource that finds any chooses, as it does in the simulation.
    began_s
        The clock at the start of the round.
    moment_s
        What is asked for within it of each other counts as asked for at once.
    """
    return _walk_round(borrowed(around), borrowed(spent), borrowed(starts), borrowed(void), began_s, moment_s)


def _walk_round(
    around: Round, spent: Spent, starts: Starts, void: list[Void], began_s: float, moment_s: float
) -> tuple[float, list[Wish], list[Wish], list[Wish]]:
    """Go through the events of a round until all clients have met for the last time."""
    nothing = (False, 0.0, 0, 0)
    wishes: Wishes = ([nothing], [nothing], [nothing])
    events: list[Event] = [(0.0, 0, 0)]
    _resume(around, starts, void, events, wishes)
    clients, counts = around.clients, around.counts[0]
    going = [clients[place].next for place in range(len(clients) - 1, -1, -1)]
    now_s, ends = began_s, False
    while not ends:
        while len(going) > 0:
            which = going.pop()
            if _begin(around, spent, events, which, now_s):
                enter(around, events, wishes, which, now_s, moment_s)
        now_s, number, what = heappop(events)
        who, kind, done = what >> 3, what & 7, NOBODY
        if kind == DECIDE:
            decide(around, events, wishes, who, now_s)
        elif kind == ENDED:
            done = _end(around, events, wishes, who, number, now_s, moment_s)
        elif kind == BY_ITSELF or kind == SERVED:  # noqa: SIM109  a tuple would be searched
            done = who
        elif kind == DELIVERED:
            _deliver(around, spent, who)
            going.append(who)
        elif kind == CHANGED:
            if number == clients[who].change and _changes(around, events, who, now_s, moment_s):
                going.append(who)
        elif kind == STARTS:
            going.append(who)
        else:
            ends = _meet(clients, counts, spent, going, now_s)
        if done != NOBODY and _finish(around, spent, events, done, now_s):
            going.append(done)
        if counts.failed != NOBODY:
            now_s, ends = math.nan, True
    return now_s, wishes[0], wishes[1], wishes[2]


def _resume(around: Round, starts: Starts, void: list[Void], events: list[Event], wishes: Wishes) -> None:
    """Take over what the round before has left, and let clients stand at their beginnings."""
    events.pop()
    for which in range(len(around.clients)):
        client = around.clients[which]
        client.job, client.late_s, client.origin_s = starts.job[which], starts.late_s[which], starts.origin_s[which]
    for number in range(3):
        shared = around.shared[number]
        wishes[number].pop()
        if shared.decides:
            heappush(events, (shared.decide_s, shared.decide_number, number * 8 + DECIDE))
    for place in range(len(void)):
        wish = void[place]
        heappush(wishes[wish.resource], (wish.is_fading, wish.urgency, wish.rank, wish.number))


def _begin(around: Round, spent: Spent, events: list[Event], which: int, now_s: float) -> bool:
    """Begin what is next of a client, compute or a meeting; say whether it is to wait for a resource."""
    client, counts = around.clients[which], around.counts[0]
    if client.late_s > 0.0:
        spent.waiting_s[which * COLUMNS + DOWNLOAD] += client.late_s
        push(events, counts, now_s + client.late_s, STARTS, which)
        client.late_s = 0.0
        return False
    job = around.jobs[client.job]
    if job.resource >= 0:
        if not client.waits:
            client.waits, client.asked_s, client.served_s = True, now_s, 0.0
            client.left = job.size_bits if job.link >= 0 else job.seconds
        return True
    if job.resource == MEETING:
        client.asked_s = now_s
        around.clients[counts.arrived].next = which
        counts.arrived += 1
        if counts.arrived == len(around.clients):
            push(events, counts, now_s, MET, 0)
        return False
    elapsed_s, stood_s = job.seconds, 0.0
    if job.link >= 0:
        elapsed_s, stood_s = carry(around, which, job.size_bits * job.stretch, now_s)
    client.served_s, client.waited_s = elapsed_s - stood_s, stood_s
    push(events, counts, now_s + elapsed_s, BY_ITSELF, which)
    return False


def _meet(clients: list[Client], counts: Counts, spent: Spent, going: list[int], now_s: float) -> bool:
    """Let all go on after the last has arrived; say whether the round ends."""
    counts.arrived = 0
    counts.met += 1
    ends = counts.met == counts.meetings
    for place in range(len(clients) - 1, -1, -1):
        which = clients[place].next
        spent.waiting_s[which * COLUMNS + BARRIER] += now_s - clients[which].asked_s
        if not ends:
            clients[which].job += 1
            going.append(which)
    if ends:
        counts.met = 0
    return ends


def _finish(around: Round, spent: Spent, events: list[Event], which: int, now_s: float) -> bool:
    """Count a job that is done; say whether the client goes on, as what was sent may be on its way for some time."""
    client = around.clients[which]
    job = around.jobs[client.job]
    served_s, waited_s = client.served_s, client.waited_s
    if job.resource >= 0:
        served_s = served_s + client.last_s if job.link >= 0 else job.seconds
        waited_s = max(0.0, now_s - client.asked_s - served_s)
    place = which * COLUMNS + job.column
    spent.seconds[place] += served_s
    spent.waiting_s[place] += waited_s
    delay_s = job.delay_s
    if job.delay_link >= 0:
        delay_s = delay_at(around.links, job.delay_link, now_s - client.origin_s)
    if delay_s > 0.0:
        client.delay_s = delay_s
        push(events, around.counts[0], now_s + delay_s, DELIVERED, which)
        return False
    client.job += 1
    return True


def _deliver(around: Round, spent: Spent, which: int) -> None:
    """Count how long what was sent was on its way."""
    client = around.clients[which]
    spent.seconds[which * COLUMNS + PROPAGATION] += client.delay_s
    client.job += 1


def _changes(around: Round, events: list[Event], which: int, now_s: float, moment_s: float) -> bool:
    """Let a fade begin or end; say whether the client has to wait anew."""
    number = around.jobs[around.clients[which].job].resource
    shared = around.shared[number]
    if shared.served == which:
        # A fade that begins with its last bit is not waited out.
        if shared.ends_s - now_s <= LAST_PART * (shared.ends_s - shared.begun_s):
            return False
        set_aside(around, shared, now_s)
        shared.free_s = now_s
        decide_soon(shared, around.counts[0], events, number, now_s, moment_s)
    return True


def _end(
    around: Round, events: list[Event], wishes: Wishes, number: int, event: int, now_s: float, moment_s: float
) -> int:
    """End a job, unless another has taken its place since; return the client whose it is, if nothing comes before."""
    shared = around.shared[number]
    which = shared.served
    if event != shared.end or which == NOBODY:
        return NOBODY
    client = around.clients[which]
    client.number += 1
    client.change, client.waits = 0, False
    # What would be the next event anyhow need not be put among the others first.
    is_next = moment_s > 0.0 and (len(events) == 0 or events[0][0] > now_s)
    if not is_next:
        push(events, around.counts[0], now_s, SERVED, which)
    shared.served, shared.free_s = NOBODY, now_s
    if len(wishes[number]) > 0:
        decide_soon(shared, around.counts[0], events, number, now_s, moment_s)
    return which if is_next else NOBODY
