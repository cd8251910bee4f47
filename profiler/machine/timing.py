"""Time a piece of work on this machine: warmed up, repeated, with its spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

WARM_UPS = 2
LEAST_REPEATS = 5
MOST_REPEATS = 50
ENOUGH_S = 0.1


class Timed(BaseModel):
    """What repeated timing found.

    Parameters
    ----------
    median_s
        Median of the repeats.
    spread_s
        Median absolute deviation from it.
    repeats
        How many there were, warm-up excepted.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    median_s: float
    spread_s: float
    repeats: int


Clock = Callable[[], float]
"""Seconds, from any start."""


def timed(
    work: Callable[[], object], prepare: Callable[[], object] = lambda: None, clock: Clock = time.perf_counter
) -> Timed:
    """Time some work.

    Repeats until a tenth of a second has been spent on it, at least 5 times and at most 50.

    Parameters
    ----------
    work
        What is timed.
    prepare
        Done before each time, untimed.
    clock
        What times are read from.
    """
    for _ in range(WARM_UPS):
        prepare()
        work()
    found: list[float] = []
    while len(found) < LEAST_REPEATS or (sum(found) < ENOUGH_S and len(found) < MOST_REPEATS):
        prepare()
        start = clock()
        work()
        found.append(clock() - start)
    return summary(found)


def summary(found: Sequence[float]) -> Timed:
    """Median and spread of some times, in seconds."""
    median = statistics.median(found)
    spread = statistics.median(abs(one - median) for one in found)
    return Timed(median_s=median, spread_s=spread, repeats=len(found))
