"""How the clients of a plan use shared resources within a round, as a typed value.

``simultaneous``: all at once, each with constant shares. ``chain``: some clients one after another, each starting when
its predecessor has finished its whole round, the others at once. ``turns``: every transfer and every server job has the
whole resource to itself, and each resource serves the clients in one order, step after step. ``dispatch``: likewise
whole, but served is, of the clients that wait, the most urgent one.

Where the scenario's server model is shared, all clients also wait for the slowest between two steps; turns are then
taken within each step, and a chain does each step one client after another.
"""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

import math
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, model_validator

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


SIMULTANEOUS = 1e-11
"""Requests within this fraction of the round of each other count as made at once: less is a matter of rounding, and the
choice between them would be different wherever the round is timed."""


_SPLITTER = 2.0**20 + 1.0


def urgency_key(left_s: float) -> float:
    """Return by what clients are compared: seconds left to 33 binary digits, so that rounding makes no difference.

    Clients with as much left are served in their order wherever the round is timed (Dekker's splitting of a number,
    1971).

    Parameters
    ----------
    left_s
        Seconds that a client has left, its urgency added.
    """
    scaled = left_s * _SPLITTER
    return scaled - (scaled - left_s) if math.isfinite(scaled) else left_s


class Dispatch(FrozenValue):
    """Uplink, downlink and server each serve one client at a time, whole: the most urgent of those that want it.

    The most urgent is the one with the most seconds left: those that its round still takes alone at the whole
    resources, from this job on, and its urgency. Of equals the first in the order is served. A more urgent client that
    comes takes the place of the one that is served, which goes on later where it was. So no resource is idle while
    anybody wants it.
    """

    kind: Literal["dispatch"] = "dispatch"
    order: tuple[str, ...]
    """All client ids of the plan."""
    urgency_s: tuple[float, ...]
    """For every client of the order, what is added to the seconds that it has left; may be negative."""
    fade_below: float = Field(default=0.3, ge=0, le=10)
    """Over a recorded link, a client whose rate is below this fraction of its mean stands behind all others, since the
    band does more for them: opportunistic scheduling (Knopp and Humblet, 1995). Constant links never fade."""

    @model_validator(mode="after")
    def _urgency_for_each(self) -> Self:
        if len(self.order) != len(self.urgency_s) or not all(map(math.isfinite, self.urgency_s)):
            raise ValueError(
                f"found {len(self.urgency_s)} urgencies for {len(self.order)} clients; needs a finite one for each"
            )
        return self


Schedule = Annotated[Simultaneous | Chain | Turns | Dispatch, Discriminator("kind")]

__all__ = ["SIMULTANEOUS", "Chain", "Dispatch", "Schedule", "Simultaneous", "Turns", "urgency_key"]
