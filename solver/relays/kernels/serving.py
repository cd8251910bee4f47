"""Jobs of many clients, served by machines and links in order of arrival."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple


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


def serve(kinds: Kinds, clients: Clients, num_resources: int, done_s: list[float]) -> None:
    """Serve all jobs, and write when each is done; those of a client follow each other, in the order of clients.

    A job arrives when all that it waits for are done and what they sent is there. What arrives first is served first;
    at the same moment, by turns, and for one client in the order of its jobs.

    Parameters
    ----------
    kinds, clients
        The jobs, and whose they are.
    num_resources
        How many machines and directions of links there are.
    done_s
        Is written to: [all jobs] when each is done.
    """
    owner, base, waits = [0], [0], [0]
    owner.pop(), base.pop(), waits.pop()
    ready = [0]
    ready.pop()
    for client in range(len(clients.kind)):
        kind = clients.kind[client]
        base.append(len(owner))
        for job in range(kinds.first[kind], kinds.first[kind + 1]):
            owner.append(client)
            waits.append(kinds.waits[job])
    for client in range(len(clients.kind) - 1, -1, -1):
        ready.append(base[client])
    # Who waits at a resource is a chain in order of arrival; a place behind all resources is that of nobody.
    nobody = -1
    head, tail, is_busy = [nobody] * num_resources, [nobody] * num_resources, [False] * num_resources
    after, before, arrived_s = [nobody] * len(owner), [nobody] * len(owner), [0.0] * len(owner)
    touched = [0]
    touched.pop()
    events = [(0.0, 0)]
    events.pop()
    now_s = 0.0
    while True:
        while len(ready) > 0:
            job = ready.pop()
            client = owner[job]
            at = kinds.first[clients.kind[client]] + job - base[client]
            place = kinds.resource[at]
            if place >= 0:
                resource = clients.resources[clients.first_resource[client] + place]
                arrived_s[job] = now_s
                last, following = tail[resource], nobody
                while last != nobody and last > job and arrived_s[last] == now_s:
                    following, last = last, before[last]
                before[job], after[job] = last, following
                if last == nobody:
                    head[resource] = job
                else:
                    after[last] = job
                if following == nobody:
                    tail[resource] = job
                else:
                    before[following] = job
                if not is_busy[resource]:
                    touched.append(resource)
                continue
            done_s[job] = now_s
            if kinds.delay_s[at] > 0:
                heappush(events, (now_s + kinds.delay_s[at], -1 - job))
                continue
            for other in range(kinds.behind_first[at], kinds.behind_first[at + 1]):
                waiting = base[client] + kinds.behind[other]
                waits[waiting] -= 1
                if waits[waiting] == 0:
                    ready.append(waiting)
        if len(events) == 0 or events[0][0] > now_s:
            for resource in touched:
                job = head[resource]
                if is_busy[resource] or job == nobody:
                    continue
                is_busy[resource] = True
                head[resource] = after[job]
                if after[job] == nobody:
                    tail[resource] = nobody
                else:
                    before[after[job]] = nobody
                client = owner[job]
                at = kinds.first[clients.kind[client]] + job - base[client]
                heappush(events, (now_s + kinds.seconds[at], job))
            touched.clear()
        if len(events) == 0:
            return
        now_s, what = heappop(events)
        job = what if what >= 0 else -1 - what
        client = owner[job]
        at = kinds.first[clients.kind[client]] + job - base[client]
        if what >= 0:
            resource = clients.resources[clients.first_resource[client] + kinds.resource[at]]
            is_busy[resource] = False
            touched.append(resource)
            done_s[job] = now_s
            if kinds.delay_s[at] > 0:
                heappush(events, (now_s + kinds.delay_s[at], -1 - job))
                continue
        for other in range(kinds.behind_first[at], kinds.behind_first[at + 1]):
            waiting = base[client] + kinds.behind[other]
            waits[waiting] -= 1
            if waits[waiting] == 0:
                ready.append(waiting)
