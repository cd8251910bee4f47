"""Clients walked from one meeting to the next, each as far as it comes before it waits for its turn.

Nobody's times depend on another's but through meetings and turns, so that clients may be walked in any order: the clock
of each is the running sum of its jobs, and of the ends of the turns it waited for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from hybridsplit.runtime.replay.kernels.jobs import (
    BARRIER,
    COLUMNS,
    MEETING,
    PASSES_TURN,
    PROPAGATION,
    TAKES_TURN,
    Job,
    Spent,
)
from hybridsplit.runtime.replay.kernels.links import Links, delay_at, time_transfer
from hybridsplit.scenarios.compiled.borrowing import borrowed

CHAIN = 3
"""The sequence of a chain's turns; those of the shared resources have their numbers."""
NOBODY = -1


@dataclass(slots=True)
class Clock:
    """How far a client is.

    Parameters
    ----------
    job
        The number of its next job.
    now_s
        Its clock.
    origin_s
        The clock at which its recordings stand at their beginning.
    waits
        The sequence in which it waits for its turn; -1 for none.
    """

    job: int
    now_s: float
    origin_s: float
    waits: int = -1


@dataclass(slots=True)
class Turn:
    """Whose turn it is in a sequence.

    Parameters
    ----------
    head, end
        Whose turn it is, and where the sequence ends.
    free_s
        When the turn before ended.
    """

    head: int
    end: int
    free_s: float = 0.0


class Turns(NamedTuple):
    """The turns of a round.

    Parameters
    ----------
    clients
        The sequences, one after another: who has a turn.
    sequences
        How far each is.
    """

    clients: list[int]
    sequences: list[Turn]


def walk_to_meeting(
    jobs: list[Job], links: Links, clocks: list[Clock], turns: Turns, spent: Spent
) -> tuple[int, float]:
    """Let all clients go on to their next meeting.

    Parameters
    ----------
    jobs, links
        What they do, and over what.
    clocks, turns, spent
        Where they stand, which is brought up to date.

    Returns
    -------
    A client that does not come so far, or -1; its clock, which is NaN where it waits for a turn in vain and else when a
    transfer begins that has no end, or when the last client arrives.
    """
    return _walk(borrowed(jobs), borrowed(links), borrowed(clocks), borrowed(turns), borrowed(spent))


def _walk(jobs: list[Job], links: Links, clocks: list[Clock], turns: Turns, spent: Spent) -> tuple[int, float]:
    """Let one client after another go on, until nobody can."""
    to_do = list(range(len(clocks) - 1, -1, -1))
    while len(to_do) > 0:
        client = to_do.pop()
        if not _go_on(jobs, links, clocks, turns, spent, to_do, client):
            return client, clocks[client].now_s
    latest_s = clocks[0].now_s
    for client in range(len(clocks)):
        if clocks[client].waits != NOBODY:
            return client, math.nan
        latest_s = max(latest_s, clocks[client].now_s)
    return NOBODY, latest_s


def _go_on(
    jobs: list[Job], links: Links, clocks: list[Clock], turns: Turns, spent: Spent, to_do: list[int], client: int
) -> bool:
    """Walk one client until it waits for a turn, or meets the others; say whether its transfers end."""
    clock, row = clocks[client], client * COLUMNS
    now_s, origin_s, at = clock.now_s, clock.origin_s, clock.job
    seconds, waiting_s = spent
    ends = True
    while jobs[at].resource != MEETING:
        job = jobs[at]
        resource, column = job.resource, row + job.column
        if resource >= 0 or resource == TAKES_TURN:
            sequence = resource if resource >= 0 else CHAIN
            turn = turns.sequences[sequence]
            if turns.clients[turn.head] != client:
                clock.waits = sequence
                break
            if turn.free_s > now_s:
                waiting_s[column] += turn.free_s - now_s
                now_s = turn.free_s
        if resource > TAKES_TURN:
            if job.link < 0:
                now_s += job.seconds
                seconds[column] += job.seconds
            else:
                place, needed_bits = links.places[job.link], job.size_bits * job.stretch
                elapsed_s, stood_s = time_transfer(links.sums, place, needed_bits, now_s - origin_s)
                if math.isnan(elapsed_s):
                    ends = False
                    break
                now_s += elapsed_s
                seconds[column] += elapsed_s - stood_s
                waiting_s[column] += stood_s
        if resource >= 0 or resource == PASSES_TURN:
            _pass_turn(clocks, turns, resource if resource >= 0 else CHAIN, now_s, to_do)
        delay_s = job.delay_s
        if job.delay_link >= 0:
            delay_s = delay_at(links, job.delay_link, now_s - origin_s)
        if delay_s > 0.0:
            now_s += delay_s
            seconds[row + PROPAGATION] += delay_s
        at += 1
    clock.job, clock.now_s = at, now_s
    return ends


def _pass_turn(clocks: list[Clock], turns: Turns, sequence: int, now_s: float, to_do: list[int]) -> None:
    """End a turn; who waits for the next one goes on."""
    turn = turns.sequences[sequence]
    turn.free_s = now_s
    turn.head += 1
    if turn.head < turn.end:
        following = turns.clients[turn.head]
        if clocks[following].waits == sequence:
            clocks[following].waits = NOBODY
            to_do.append(following)


def meet(clocks: list[Clock], spent: Spent, at_s: float) -> None:
    """Let all clients wait for the last.

    Parameters
    ----------
    clocks, spent
        Where they stand, which is brought up to date.
    at_s
        When the last has arrived.
    """
    for client in range(len(clocks)):
        clock = clocks[client]
        spent.waiting_s[client * COLUMNS + BARRIER] += at_s - clock.now_s
        clock.now_s = at_s
        clock.job += 1
