"""How the clients of a plan use shared resources within a round, as a typed value.

``simultaneous``: all at once, each with constant shares. ``chain``: some clients one after another, each starting when
its predecessor has finished its whole round, the others at once. ``turns``: every transfer and every server job has the
whole resource to itself, and each resource serves the clients in one order, step after step.

Where the scenario's server model is shared, all clients also wait for the slowest between two steps; turns are then
taken within each step, and a chain does each step one client after another.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator

from hybridsplit.scenarios.contracts.placement import FrozenValue


class Simultaneous(FrozenValue):
    """All clients at once, each with its shares for the whole round."""

    kind: Literal["simultaneous"] = "simultaneous"


class Chain(FrozenValue):
    """Clients of ``order`` one after another; the others at once.

    A client of the chain starts when the one before it has finished its round. Only one of them uses its shares at a
    time, so what a resource must carry is the shares of the others and the largest share in the chain.
    """

    kind: Literal["chain"] = "chain"
    order: tuple[str, ...]
    """Client ids, first to last."""


class Turns(FrozenValue):
    """Uplink, downlink and server each serve one client at a time, whole, in a fixed sequence.

    The downlink serves the model downloads in ``order`` and then, step after step, the gradients in ``order``; the
    server serves step after step in ``order``; the uplink likewise, and the model uploads in ``order`` last. A job
    starts when it is ready and the one before it in the sequence has ended: no job overtakes another.
    """

    kind: Literal["turns"] = "turns"
    order: tuple[str, ...]
    """All client ids of the plan."""


Schedule = Annotated[Simultaneous | Chain | Turns, Discriminator("kind")]

__all__ = ["Chain", "Schedule", "Simultaneous", "Turns"]
