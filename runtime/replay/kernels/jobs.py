"""What clients do in a round, job by job, and what they spend, as flat vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ALONE, MEETING, TAKES_TURN, PASSES_TURN = -1, -2, -3, -4
"""Instead of a shared resource: the client's own device or link, a meeting of all clients, and the turn of a chain."""

DOWNLOAD, PROPAGATION, BARRIER = 0, 1, 2
"""The columns of what is spent that every client has."""

COLUMNS = 16
"""Of what a client spends in a round; a power of two, and more than there are phases with jobs."""


@dataclass(slots=True)
class Job:
    """What a client does next.

    Parameters
    ----------
    resource
        The number of a shared resource, or one of the constants above.
    column
        Where what it takes is counted.
    seconds
        How long it takes where no recording says so.
    link
        The number of the recorded link that it goes over; -1 elsewhere.
    size_bits, stretch, scale
        What it carries over that; recorded rates over the link's own, and the link's own over recorded ones.
    delay_s, delay_link
        How long what was sent is on its way; the link whose recording says so, or -1.
    urgency
        Less the seconds that the client has left from here on.
    """

    resource: int
    column: int
    seconds: float = 0.0
    link: int = -1
    size_bits: float = 0.0
    stretch: float = 1.0
    scale: float = 1.0
    delay_s: float = 0.0
    delay_link: int = -1
    urgency: float = 0.0


class Spent(NamedTuple):
    """What clients spend in a round, a row each.

    Parameters
    ----------
    seconds, waiting_s
        Served, and waited.
    """

    seconds: list[float]
    waiting_s: list[float]
