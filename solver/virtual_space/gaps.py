"""Which period closes the gap between a choice and its bound, and whether the two are near."""

from __future__ import annotations

LEAST_STEP = 1e-3
"""Relative step between periods where the gap is smaller."""
_NEAR = 8
"""Gaps between a choice and its bound up to which the period that closes the gap is asked for at once."""


def closing_period(objective: float, gap: float) -> float:
    """Return the period that closes the gap if it is refused.

    Parameters
    ----------
    objective
        Period of the best choice.
    gap
        Gap at which to stop.
    """
    # A little less than the gap, so that rounding leaves no more than that.
    return objective / (1 + 0.999 * gap)


def is_near(objective: float, bound: float, gap: float) -> bool:
    """Return whether the period that closes the gap is asked for at once.

    Parameters
    ----------
    objective
        Period of the best choice.
    bound
        What no period is below.
    gap
        Gap at which to stop.
    """
    return objective <= bound * (1 + _NEAR * max(gap, LEAST_STEP))
