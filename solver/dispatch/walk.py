"""When clients end that are served by priority, by walking through the round event by event.

A shared resource serves one client at a time, whole: of those that want it, the client with the most seconds left, its
urgency added. A more urgent one that comes takes its place; the other goes on later where it was. Requests that are
simultaneous to within rounding count as made at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from collections.abc import Sequence as ManyOf

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import SIMULTANEOUS, urgency_key
from hybridsplit.solver.dispatch.sequences import Segment, Sequence

_REQUESTED = 0
"""Marks an event as a request; others carry the number of the grant that ends."""

OnJob = Callable[[int, Phase, float], None]
"""Called for every job with its client, phase, and the seconds from when it was ready until it ended."""
OnMeeting = Callable[[int, float], None]
"""Called for every client and meeting with the seconds it waits there."""


def ends_s(
    sequences: ManyOf[Sequence],
    urgency_s: ManyOf[float],
    on_job: OnJob | None = None,
    on_meeting: OnMeeting | None = None,
    *,
    limit_s: float = math.inf,
) -> list[float]:
    """Return when every client ends, seconds from the start of the round.

    Parameters
    ----------
    sequences
        [N] what every client does; all have the same number of segments.
    urgency_s
        [N] what is added to the seconds that are left of a client.
    on_job, on_meeting
        Called on the way, where somebody wants to know.
    limit_s
        Of rounds that take longer nothing else is of interest: the walk may stop as soon as some client cannot end by
        it, whose end is then given as infinite, and those of others as they may be.
    """
    num = len(sequences)
    tolerance_s = SIMULTANEOUS * max((_alone_s(sequence) for sequence in sequences), default=0.0)
    segments = len(sequences[0]) if sequences else 0
    start_s = 0.0
    reached_s = [0.0] * num
    for segment in range(segments):
        own = [sequence[segment] for sequence in sequences]
        reached_s = _segment_ends_s(own, urgency_s, start_s, tolerance_s, on_job, limit_s)
        if math.inf in reached_s:
            return reached_s
        if segment < segments - 1:
            start_s = max(reached_s)
            if on_meeting is not None:
                for client, end_s in enumerate(reached_s):
                    on_meeting(client, start_s - end_s)
    return reached_s


def _alone_s(sequence: Sequence) -> float:
    jobs = sequence[0].jobs
    return jobs[0].remaining_s + jobs[0].lag_s if jobs else sequence[0].end_lag_s


def _segment_ends_s(
    segments: ManyOf[Segment],
    urgency_s: ManyOf[float],
    start_s: float,
    tolerance_s: float,
    on_job: OnJob | None,
    limit_s: float,
) -> list[float]:
    """Walk from one meeting to the next; somebody's end is infinite where the round cannot end by the limit."""
    reached_s = [start_s + segment.end_lag_s for segment in segments]
    jobs_of = [segment.jobs for segment in segments]
    position = [0] * len(segments)
    ready_s = [0.0] * len(segments)
    owed_s = [0.0] * len(segments)
    waiting: tuple[list[tuple[float, int]], ...] = ([], [], [])
    served: list[tuple[float, int] | None] = [None] * 3
    since_s, free_s = [start_s] * 3, [start_s] * 3
    grants = [0] * 3
    events: list[tuple[float, int, int, int]] = []
    for client, jobs in enumerate(jobs_of):
        if jobs:
            events.append((start_s + jobs[0].lag_s, _REQUESTED, client, jobs[0].resource))
    heapq.heapify(events)
    push, pop, replace = heapq.heappush, heapq.heappop, heapq.heapreplace
    has_limit = limit_s < math.inf
    while events:
        until_s = events[0][0] + tolerance_s
        touched = []
        while events and events[0][0] <= until_s:
            time_s, grant, client, resource = pop(events)
            if grant == _REQUESTED:
                _, duration_s, _, remaining_s, _ = jobs_of[client][position[client]]
                ready_s[client], owed_s[client] = time_s, duration_s
                push(waiting[resource], (-urgency_key(remaining_s + urgency_s[client]), client))
                touched.append(resource)
                continue
            if grant != grants[resource]:
                continue  # another client has come before it ended
            touched.append(resource)
            served[resource], free_s[resource] = None, time_s
            jobs = jobs_of[client]
            place = position[client]
            if on_job is not None:
                on_job(client, jobs[place].phase, time_s - ready_s[client])
            position[client] = place = place + 1
            if place < len(jobs):
                following, _, lag_s, _, _ = jobs[place]
                push(events, (time_s + lag_s, _REQUESTED, client, following))
            else:
                reached_s[client] = time_s + segments[client].end_lag_s
        for resource in touched:
            queue, now = waiting[resource], served[resource]
            if not queue or (now is not None and now < queue[0]):
                continue
            client = queue[0][1]
            if now is None:
                served[resource] = pop(queue)
                begins_s = max(free_s[resource], ready_s[client])
            else:
                begins_s = max(since_s[resource], ready_s[client])
                owed_s[now[1]] -= begins_s - since_s[resource]
                served[resource] = replace(queue, now)
            ending_s = begins_s + owed_s[client]
            if has_limit:
                _, duration_s, _, remaining_s, _ = jobs_of[client][position[client]]
                if ending_s - duration_s + remaining_s > limit_s:
                    reached_s[client] = math.inf
                    return reached_s
            since_s[resource] = begins_s
            grants[resource] = grant = grants[resource] + 1
            push(events, (ending_s, grant, client, resource))
    return reached_s
