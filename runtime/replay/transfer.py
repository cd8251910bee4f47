"""How long a transfer takes."""

from __future__ import annotations

from dataclasses import dataclass


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
