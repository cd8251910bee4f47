"""After how many rounds a curve reaches a target, between rounds and in spite of noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

_IN_A_ROW = 2
"""Rounds whose mean must be at the target: one alone may be luck."""


def reaches(values: Sequence[float], target: float, *, rising: bool) -> bool:
    """Say whether the mean of the last two rounds is at the target.

    Parameters
    ----------
    values
        Of every round so far.
    target
        What is to be reached.
    rising
        True where more is better (accuracy), False where less is (loss).
    """
    last = [value if rising else -value for value in values[-_IN_A_ROW:]]
    return len(last) == _IN_A_ROW and sum(last) / _IN_A_ROW >= (target if rising else -target)


def rounds_to(values: Sequence[float], target: float, *, rising: bool) -> float:
    """Rounds until a curve is at a target, with fractions; infinite where it is never.

    The curve is taken up to the round in which :func:`reaches` first holds. The nearest curve that never falls
    (isotonic regression: what falls is averaged) crosses the target there or before, which is found by straight lines
    between rounds; the first of them starts at the value of the first round, one round before.

    Parameters
    ----------
    values, target, rising
        As of :func:`reaches`.
    """
    better = [value if rising else -value for value in values]
    goal = target if rising else -target
    end = next((k for k in range(1, len(better) + 1) if reaches(better[:k], goal, rising=True)), None)
    if end is None:
        return math.inf
    smooth = _never_falling(better[:end])
    # The last two rounds may be pooled with rounds before them; the mean of the two is at the goal all the same.
    smooth[-1] = max(smooth[-1], goal)
    first = next(k for k, value in enumerate(smooth) if value >= goal)
    if first == 0:
        return 1.0
    below = smooth[first - 1]
    return first + (goal - below) / (smooth[first] - below)


def _never_falling(values: Sequence[float]) -> list[float]:
    """Isotonic regression by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools[-2], pools[-1]
            pools[-2:] = [((one * n + other * m) / (n + m), n + m)]
    return [value for value, number in pools for _ in range(number)]
