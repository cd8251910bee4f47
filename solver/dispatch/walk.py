"""When clients end that are served by priority, by walking through the round event by event.

A shared resource serves one client at a time, whole. When it is free it serves, of those that wait, the client with the
most seconds left, its urgency added; requests that are simultaneous to within rounding count as made at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from collections.abc import Sequence as ManyOf

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.schedule import SIMULTANEOUS
from hybridsplit.solver.dispatch.sequences import Sequence

_REQUESTED, _RELEASED = 0, 1

OnStart = Callable[[int, Phase, float, float], None]
"""Called for every job with its client, phase, seconds waited, and start."""
OnMeeting = Callable[[int, float], None]
"""Called for every client and meeting with the seconds it waits there."""


def ends_s(
    sequences: ManyOf[Sequence],
    urgency_s: ManyOf[float],
    on_start: OnStart | None = None,
    on_meeting: OnMeeting | None = None,
) -> list[float]:
    """Return when every client ends, seconds from the start of the round.

    Parameters
    ----------
    sequences
        [N] what every client does; all have the same number of segments.
    urgency_s
        [N] what is added to the seconds that are left of a client.
    on_start, on_meeting
        Called on the way, where somebody wants to know.
    """
    num = len(sequences)
    tolerance_s = SIMULTANEOUS * max((_alone_s(sequence) for sequence in sequences), default=0.0)
    segments = len(sequences[0]) if sequences else 0
    start_s = 0.0
    reached_s = [0.0] * num
    for segment in range(segments):
        own = [sequence[segment] for sequence in sequences]
        reached_s = _segment_ends_s(own, urgency_s, start_s, tolerance_s, on_start)
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
    segments: ManyOf,  # type: ignore[type-arg]
    urgency_s: ManyOf[float],
    start_s: float,
    tolerance_s: float,
    on_start: OnStart | None,
) -> list[float]:
    """Walk from one meeting to the next."""
    reached_s = [start_s + segment.end_lag_s for segment in segments]
    jobs_of = [segment.jobs for segment in segments]
    position = [0] * len(segments)
    ready_s = [0.0] * len(segments)
    waiting: tuple[list[tuple[float, int]], ...] = ([], [], [])
    free_s = [start_s] * 3
    busy = [False] * 3
    events: list[tuple[float, int, int, int]] = []
    for client, jobs in enumerate(jobs_of):
        if jobs:
            events.append((start_s + jobs[0].lag_s, _REQUESTED, client, jobs[0].resource))
    heapq.heapify(events)
    push, pop = heapq.heappush, heapq.heappop
    while events:
        until_s = events[0][0] + tolerance_s
        touched = []
        while events and events[0][0] <= until_s:
            time_s, kind, client, resource = pop(events)
            touched.append(resource)
            if kind == _REQUESTED:
                ready_s[client] = time_s
                push(waiting[resource], (-jobs_of[client][position[client]].remaining_s - urgency_s[client], client))
                continue
            busy[resource], free_s[resource] = False, time_s
            position[client] += 1
            jobs = jobs_of[client]
            if position[client] < len(jobs):
                following = jobs[position[client]]
                push(events, (time_s + following.lag_s, _REQUESTED, client, following.resource))
            else:
                reached_s[client] = time_s + segments[client].end_lag_s
        for resource in touched:
            if busy[resource] or not waiting[resource]:
                continue
            client = pop(waiting[resource])[1]
            job = jobs_of[client][position[client]]
            begins_s = max(free_s[resource], ready_s[client])
            busy[resource] = True
            if on_start is not None:
                on_start(client, job.phase, begins_s - ready_s[client], begins_s)
            push(events, (begins_s + job.duration_s, _RELEASED, client, resource))
    return reached_s
