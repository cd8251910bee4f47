"""What is logged of a round."""

from __future__ import annotations

import math
from typing import Protocol

from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.scores import score_called


class RoundWriter(Protocol):
    """Where rounds are written."""

    def add(self, run: str, done: RoundDone) -> None:
        """Write a round of the plan, or of its frozen control."""

    def close(self) -> None:
        """Write what is left."""


def figures_of(done: RoundDone) -> dict[str, float]:
    """Return the figures of a round by name, units in the names; what is not known is left out.

    Parameters
    ----------
    done
        The round.
    """
    found = {
        score_called(done.score).column: done.test_score,
        "train_loss": done.train_loss,
        "simulated_s": done.simulated_s,
        "uplink_bytes": float(done.uplink_bytes),
        "downlink_bytes": float(done.downlink_bytes),
        "largest_peak_bytes": None if done.peak_bytes is None else float(done.peak_bytes),
    }
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}
