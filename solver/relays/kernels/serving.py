"""Jobs of many clients, served by machines and links in order of arrival."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from hybridsplit.scenarios.compiled.borrowing import borrowed

NOBODY = -1


class Kinds(NamedTuple):
    """Jobs of every kind of client, one kind after another.

    Parameters
    ----------
    first
        [K + 1] where the jobs of each kind begin.
    seconds, delay_s
        [J] how long each job takes, and how long what it sends is on its way.
    resource
        [J] the place of its resource among those that the kind uses.
    waits
        [J] for how many jobs it waits.
    behind_first, behind
        [J + 1] where the jobs that wait for each begin, and these, counted from the first of the kind.
    """

    first: list[int]
    seconds: list[float]
    delay_s: list[float]
    resource: list[int]
    waits: list[int]
    behind_first: list[int]
    behind: list[int]


class Clients(NamedTuple):
    """Clients in the order of their turns.

    Parameters
    ----------
    kind
        [N] the kind of each.
    first_resource, resources
        [N] where the resources of each begin, and these: numbers of all that there are.
    """

    kind: list[int]
    first_resource: list[int]
    resources: list[int]


class Standing(NamedTuple):
    """Where all jobs stand, those of a client one after another, and who waits at every resource.

    Parameters
    ----------
    first_job
        [N] where the jobs of each client begin.
    client, waits, done_s
        [all jobs] whose each is, for how many others it waits, and when it was done.
    first, last, is_busy
        [R] the ends of the chain of jobs that wait, ``NOBODY`` where none does, and whether the resource works.
    after, before, arrived_s
        [all jobs] whom each waits before and behind, and since when.
    """

    first_job: list[int]
    client: list[int]
    waits: list[int]
    done_s: list[float]
    first: list[int]
    last: list[int]
    is_busy: list[bool]
    after: list[int]
    before: list[int]
    arrived_s: list[float]


def serve(kinds: Kinds, clients: Clients, standing: Standing) -> None:
    """Serve all jobs of clients.

    A job arrives when all that it waits for are done and what they sent is there. What arrives first is served first;
    at the same moment, by turns, and for one client in the order of its jobs.

    Parameters
    ----------
    kinds, clients
        The jobs, and whose they are.
    standing
        At the start, of which ``first_job``, ``client`` and ``waits`` are only as long; is brought up to date.
    """
    _serve(borrowed(kinds), borrowed(clients), borrowed(standing))


def _serve(kinds: Kinds, clients: Clients, at: Standing) -> None:
    arriving, touched, events, now_s, count = [0], [0], [(0.0, 0)], 0.0, 0
    arriving.clear()
    touched.clear()
    events.clear()
    for client in range(len(clients.kind)):
        kind = clients.kind[client]
        at.first_job[client] = count
        arriving.append(count)
        for row in range(kinds.first[kind], kinds.first[kind + 1]):
            at.client[count], at.waits[count] = client, kinds.waits[row]
            count += 1
    while True:
        # A number below 0 is a job that is done, and what it sent is there.
        is_done = len(arriving) == 0
        if is_done and (len(events) == 0 or events[0][0] > now_s):
            for resource in touched:
                job = _next_of(at, resource)
                if job != NOBODY:
                    heappush(events, (now_s + kinds.seconds[_row(kinds, clients, at, job)], job))
            touched.clear()
            if len(events) == 0:
                return
        if is_done:
            now_s, job = heappop(events)
        else:
            job = arriving.pop()
        is_sent = job < 0
        if is_sent:
            job = -1 - job
        client, row = at.client[job], _row(kinds, clients, at, job)
        if not is_sent and kinds.resource[row] >= 0:
            resource = clients.resources[clients.first_resource[client] + kinds.resource[row]]
            if is_done:
                at.is_busy[resource] = False
            if not at.is_busy[resource]:
                touched.append(resource)
            if not is_done:
                _wait(at, resource, job, now_s)
                continue
        if not is_sent:
            at.done_s[job] = now_s
            if kinds.delay_s[row] > 0:
                heappush(events, (now_s + kinds.delay_s[row], -1 - job))
                continue
        for other in range(kinds.behind_first[row], kinds.behind_first[row + 1]):
            behind = at.first_job[client] + kinds.behind[other]
            at.waits[behind] -= 1
            if at.waits[behind] == 0:
                arriving.append(behind)


def _row(kinds: Kinds, clients: Clients, at: Standing, job: int) -> int:
    """Return where a job is among those of all kinds."""
    client = at.client[job]
    return kinds.first[clients.kind[client]] + job - at.first_job[client]


def _wait(at: Standing, resource: int, job: int, now_s: float) -> None:
    """Let a job wait: behind all who came before, and those of the same moment whose turn is sooner."""
    ahead, following = at.last[resource], NOBODY
    while ahead != NOBODY and ahead > job and at.arrived_s[ahead] == now_s:
        following, ahead = ahead, at.before[ahead]
    at.arrived_s[job] = now_s
    at.before[job], at.after[job] = ahead, following
    if ahead == NOBODY:
        at.first[resource] = job
    else:
        at.after[ahead] = job
    if following == NOBODY:
        at.last[resource] = job
    else:
        at.before[following] = job


def _next_of(at: Standing, resource: int) -> int:
    """Let a resource that is free begin with the first that waits, and return which; ``NOBODY`` if there is none."""
    job = at.first[resource]
    if job == NOBODY or at.is_busy[resource]:
        return NOBODY
    at.is_busy[resource] = True
    following = at.after[job]
    at.first[resource] = following
    if following == NOBODY:
        at.last[resource] = NOBODY
    else:
        at.before[following] = NOBODY
    return job
