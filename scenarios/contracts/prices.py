"""What more of a resource is worth to a plan: prices at the optimum, and differences of solved problems."""

# Annotations are values here and not text (no __future__): of text, pydantic's reading is a third of the import.

from typing import Literal

from pydantic import Field

from hybridsplit.scenarios.contracts.placement import FrozenValue


class Prices(FrozenValue):
    """What a relative increase of each shared resource is worth at the optimum, seconds per 100 % more."""

    uplink_s: float = 0.0
    downlink_s: float = 0.0
    server_s: float = 0.0


class Marginal(FrozenValue):
    """What more of one resource saves: the difference of two solved problems, the other options kept.

    Of the amounts, the one in the resource's unit is given, as far as it is known.
    """

    resource: Literal["uplink", "downlink", "server", "memory", "link"]
    clients: tuple[str, ...] = ()
    """Alike clients; the saving is for the memory of any one of them, or for the links of all of them, each its own.
    Empty for shared resources."""
    amount_hz: float | None = None
    """More bandwidth: a tenth of what there is."""
    amount_flops_per_s: float | None = None
    """More server speed: a tenth of what there is; None where it is not published."""
    amount_bytes: int | None = None
    """More memory: what the option lacks, rounded up to three digits."""
    amount_fraction: float = Field(ge=0)
    """The amount, relative to the band, the server, the client's budget or its link's rates."""
    option: str = ""
    """What a client would take with the memory, in words."""
    saves_s: float = Field(ge=0)
    """Fall of the objective, seconds; 0 up to 1e-6 of it."""
