"""How long a transfer takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

LAST_PART = 1e-9
"""What is left of a job is rounding when it is no more than this fraction of all of it: it is done, as an outage that
begins there could hold the rest for minutes."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """How long a transfer takes.

    Parameters
    ----------
    elapsed_s
        From start to finish.
    waiting_s
        The part of it during which the link was at rate zero.
    """

    elapsed_s: float
    waiting_s: float

    @property
    def served_s(self) -> float:
        """The part of the elapsed time during which bits moved, s."""
        return self.elapsed_s - self.waiting_s


class RunningSums(NamedTuple):
    """A trace's running sums and rates as Python's numbers: single ones are read from lists several times as fast."""

    edges_s: list[float]
    sent_bits: list[float]
    outage_s: list[float]
    rates_bps: list[float]
