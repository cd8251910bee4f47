"""Rounds of several curves to one target, by all of the way there and not by one crossing: less noise from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hybridsplit.profiler.rounds_to import rounds_to

LEVELS = (0.8, 0.9, 1.0)
"""Parts of the way to the target whose crossings are averaged."""


def pooled_rounds(curves: Sequence[Sequence[float]], target: float, *, rising: bool) -> list[float]:
    """Rounds of every curve to the target; infinite where it is never reached.

    A curve crosses every level of the way. Over the curves that reached the target, the median of the ratio of rounds
    to a level and rounds to the target is what that level is worth; a curve's rounds are the geometric mean over the
    levels of its rounds to a level by that ratio. So constants are shared by all levels, and the noise of a crossing is
    averaged. The way starts at the median of the curves' first values.

    Parameters
    ----------
    curves
        By run, the target's figure after every round.
    target, rising
        As of :func:`hybridsplit.profiler.rounds_to.rounds_to`.
    """
    first = float(np.median([curve[0] for curve in curves])) if curves else target
    start = min(first, target) if rising else max(first, target)
    levels = [target - (1.0 - level) * (target - start) for level in LEVELS[:-1]]
    crossed = np.array(
        [[*(rounds_to(curve, level, rising=rising) for level in levels), rounds_to(curve, target, rising=rising)]
         for curve in curves]
    )  # fmt: skip
    reached = [bool(np.isfinite(row).all()) for row in crossed]
    if not any(reached):
        return [math.inf] * len(curves)
    logs = np.log(crossed[reached])
    worth = np.median(logs - logs[:, -1:], axis=0)
    found = iter(np.exp((logs - worth).mean(axis=1)).tolist())
    return [next(found) if is_reached else math.inf for is_reached in reached]
