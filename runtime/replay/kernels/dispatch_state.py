"""Where clients and shared resources stand in a round by priority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hybridsplit.runtime.replay.kernels.jobs import Job
from hybridsplit.runtime.replay.kernels.links import Links

STARTS, BY_ITSELF, DELIVERED, CHANGED, DECIDE, ENDED, SERVED, MET = range(8)
"""Kinds of events: a client that comes late starts; a job on its own device or link has ended; what was sent has
arrived; a fade begins or ends; a resource chooses; a job on it ends, and has ended; all clients have met."""
NOBODY = -1

Event = tuple[float, int, int]
"""When; a number by which events of one time are in the order in which they were asked for; and eight times of whom,
and the kind."""
Wish = tuple[bool, float, int, int]
"""Whether the link is in a fade, less the seconds that the client has left, its rank, and the number of its wish."""

Wishes = tuple[list[Wish], list[Wish], list[Wish]]
"""Those of each shared resource."""


@dataclass(slots=True)
class Client:
    """Where a client stands.

    Parameters
    ----------
    rank
        Its place among equals.
    next
        Who begins at this client's place: clients begin in the order in which they arrived at the last meeting.
    job
        The number of the next job.
    late_s
        How long after the start of the round it joins.
    origin_s
        The clock at which its recordings stand at their beginning.
    asked_s, since_s
        Since when it waits in all, and by its present wish.
    number, change
        Of its present wish, and the event by which its link fades next or stops fading; earlier ones are void.
    waits
        Whether it waits for a shared resource, or has it.
    is_fading, urgency
        By what it is served: whether its link is in a fade, and less the seconds that it has left.
    left
        Seconds, or bits over a recorded link, that are left.
    served_s, last_s, waited_s
        Seconds in which bits were carried before, and since the resource was got last; and waited.
    delay_s
        How long what was sent is on its way.
    """

    rank: int
    next: int
    job: int = 0
    late_s: float = 0.0
    origin_s: float = 0.0
    asked_s: float = 0.0
    since_s: float = 0.0
    number: int = 0
    change: int = 0
    waits: bool = False
    is_fading: bool = False
    urgency: float = 0.0
    left: float = 0.0
    served_s: float = 0.0
    last_s: float = 0.0
    waited_s: float = 0.0
    delay_s: float = 0.0


@dataclass(slots=True)
class Shared:
    """Where a shared resource stands.

    Parameters
    ----------
    served, begun_s, ends_s, free_s
        Who has it, since when and until when; and when it was free last.
    end
        The event by which the present client is done; others are void.
    decides, decide_s, decide_number
        Whether it is about to choose, when, and the number of that event.
    """

    served: int = -1
    begun_s: float = 0.0
    ends_s: float = 0.0
    free_s: float = 0.0
    end: int = 0
    decides: bool = False
    decide_s: float = 0.0
    decide_number: int = 0


@dataclass(slots=True)
class Counts:
    """What a round has besides.

    Parameters
    ----------
    meetings, met
        How many meetings it has, and has had.
    arrived
        How many clients wait for the others.
    failed
        A client whose transfer has no end.
    needed_bits, start_s
        That transfer.
    events
        How many events there were, in earlier rounds too.
    """

    meetings: int
    met: int = 0
    arrived: int = 0
    failed: int = -1
    needed_bits: float = 0.0
    start_s: float = 0.0
    events: int = 0


@dataclass(slots=True)
class Void:
    """A wish that nobody has any more.

    Parameters
    ----------
    resource
        Where it waits.
    is_fading, urgency, rank, number
        As of a wish.
    """

    resource: int
    is_fading: bool
    urgency: float
    rank: int
    number: int


class Starts(NamedTuple):
    """How clients begin a round, by client.

    Parameters
    ----------
    job
        The number of the first job.
    late_s
        How long after the start of the round it joins.
    origin_s
        The clock at which its recordings stand at their beginning.
    """

    job: list[int]
    late_s: list[float]
    origin_s: list[float]


class Round(NamedTuple):
    """All that a round has.

    Parameters
    ----------
    jobs, links
        What clients do, and over what.
    clients, shared
        Where they and the shared resources stand.
    of_rank
        By rank, the client.
    counts
        What is counted, one item.
    """

    jobs: list[Job]
    links: Links
    clients: list[Client]
    shared: list[Shared]
    of_rank: list[int]
    counts: list[Counts]
