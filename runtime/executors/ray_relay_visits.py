"""Who visits whom: a client's round at a machine, and the processes that the machine sends to."""

from __future__ import annotations

from typing import Any, NamedTuple


class Visit(NamedTuple):
    """A client's round at a machine.

    Parameters
    ----------
    client
        Its id.
    attempt
        Which attempt at which round, by which worker: a round may be repeated.
    node
        The node.
    replica
        Which machine of the node.
    """

    client: str
    attempt: str
    node: str
    replica: int = 0


class Neighbours(NamedTuple):
    """The processes that a machine sends to, with the visits there.

    Parameters
    ----------
    following
        Those of the next node, by replica; none at the last.
    beside
        Those of its own node, by replica, itself included.
    """

    following: tuple[tuple[Any, Visit], ...]
    beside: tuple[tuple[Any, Visit], ...]
