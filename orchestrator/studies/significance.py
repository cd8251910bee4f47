"""One voice about differences between runs: paired by seed, with the interval of Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hybridsplit.scenarios.contracts.placement import FrozenValue

CONFIDENCE = 0.95


class MeanOverSeeds(FrozenValue):
    """A mean over seeds and its 95 % interval by Student's t."""

    mean: float
    low: float | None = None
    high: float | None = None
    """None where one seed tells nothing about the spread."""
    num_seeds: int

    @property
    def is_a_difference(self) -> bool | None:
        """Of a mean of paired differences: whether the interval leaves 0 out; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0


def mean_over_seeds(values: Sequence[float]) -> MeanOverSeeds | None:
    """Return the mean of some values with its interval; None if there is none, or one is not finite.

    Parameters
    ----------
    values
        One a seed; differences where two plans are compared, seed by seed.
    """
    if not values or not all(map(math.isfinite, values)):
        return None
    number, mean = len(values), math.fsum(values) / len(values)
    if number == 1:
        return MeanOverSeeds(mean=mean, num_seeds=1)
    from scipy.stats import t

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (number - 1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, number - 1)) * deviation / math.sqrt(number)
    return MeanOverSeeds(mean=mean, low=mean - half, high=mean + half, num_seeds=number)


def verdict(difference: MeanOverSeeds | None, *, less_is_better: bool) -> str:
    """Say in words whether runs differ.

    Parameters
    ----------
    difference
        Of paired differences; None where they are not known.
    less_is_better
        True for seconds, False for accuracy.
    """
    if difference is None:
        return "not comparable, unknown for some run"
    if difference.is_a_difference is None:
        return "one seed tells no difference"
    if not difference.is_a_difference:
        return "no difference is shown"
    return "better" if (difference.mean < 0) is less_is_better else "worse"
