"""The front of the test score against what training costs, over single models and their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hybridsplit.orchestrator.studies.significance import mean_over_seeds

_ROUNDING = 1e-12


@dataclass(frozen=True)
class FrontPoint:
    """The cheapest model of at least some value.

    Parameters
    ----------
    name
        Of the model.
    value
        Its test score (accuracy, macro F1 or R²), or what it is ranked by before training where none is known.
    cost, lower_bound
        Of its plan, and below what no plan of any model of at least this value gets: the least of their bounds;
        None where one of these is not known.
    """

    name: str
    value: float
    cost: float
    lower_bound: float | None

    @property
    def gap(self) -> float | None:
        """Relative distance of the cost from its bound; None where that is not known, or zero below a cost."""
        return gap_of(self.cost, self.lower_bound)


@dataclass(frozen=True)
class Judged:
    """A model with a plan and a value.

    Parameters
    ----------
    name
        Of the model.
    value
        As of :class:`FrontPoint`: the more, the better.
    cost, lower_bound
        Of its plan: what is minimised, and its proven bound, None where none is known.
    by_seed
        Test score at every seed it was trained at; empty where it was not trained.
    """

    name: str
    value: float
    cost: float
    lower_bound: float | None
    by_seed: Mapping[int, float]


def front_of(models: Sequence[Judged]) -> tuple[FrontPoint, ...]:
    """Return the models that none beats in both figures, by rising cost.

    Every model has a plan of its own, so the sweep over least values is exact up to the plans' gaps: the point of
    a value is the cheapest model that reaches it.

    Parameters
    ----------
    models
        The models.
    """
    found: list[FrontPoint] = []
    for one in sorted(models, key=lambda one: (one.cost, -one.value, one.name)):
        if not found or one.value > found[-1].value:
            bounds = [other.lower_bound for other in models if other.value >= one.value]
            known = [bound for bound in bounds if bound is not None]
            bound = min(*known, one.cost) if len(known) == len(bounds) else None
            found.append(FrontPoint(one.name, one.value, one.cost, bound))
    return tuple(found)


def gap_of(cost: float, lower_bound: float | None) -> float | None:
    """Return the relative distance of a cost from its bound; None where the bound is not known or says nothing.

    Parameters
    ----------
    cost, lower_bound
        In one unit.
    """
    if lower_bound is None or (lower_bound <= 0 < cost):
        return None
    return max(0.0, cost / lower_bound - 1.0) if lower_bound > 0 else 0.0


def not_told_apart(models: Sequence[Judged], front: Sequence[FrontPoint]) -> frozenset[str]:
    """Return the models beside the front that may belong to it, for all that the seeds say.

    A model is surely beaten by one that costs no more and whose test score, seed by seed, is higher by an interval that
    leaves 0 out; or, where one of the two was not trained, whose stated one is higher.

    Parameters
    ----------
    models
        The models.
    front
        Their front.
    """
    on_front = {point.name for point in front}
    return frozenset(
        one.name
        for one in models
        if one.name not in on_front and not any(_surely_beats(other, one) for other in models if other is not one)
    )


def _surely_beats(other: Judged, one: Judged) -> bool:
    if other.cost > one.cost or other.value < one.value:
        return False
    seeds = sorted(set(other.by_seed) & set(one.by_seed))
    if not seeds:
        return other.value > one.value or other.cost < one.cost
    difference = mean_over_seeds([other.by_seed[seed] - one.by_seed[seed] for seed in seeds])
    assert difference is not None
    if difference.low is None:
        return False
    # Of equal scores at every seed, the cheaper one is better.
    return difference.low > 0 or (difference.low == difference.high == 0 and other.cost < one.cost)


@dataclass(frozen=True)
class RankCorrelation:
    """How well a score before training ranks models by the test score that they reach.

    Parameters
    ----------
    score
        Name of the score.
    value
        Spearman's rank correlation.
    low, high
        Its 95 % interval, by Fisher's transformation with the variance of Bonett and Wright (Psychometrika 65, 2000).
    num_models
        Models that it was measured on.
    """

    score: str
    value: float
    low: float
    high: float
    num_models: int


def rank_correlation(score: str, scores: Sequence[float], reached: Sequence[float]) -> RankCorrelation | None:
    """Compare the ranks that a score before training gives with those of test scores.

    Parameters
    ----------
    score
        Its name.
    scores, reached
        One each a model.

    Returns
    -------
    The correlation; None for fewer than 5 models, or where all scores or all that was reached are the same.
    """
    number = len(scores)
    if number < 5 or len(set(scores)) == 1 or len(set(reached)) == 1:
        return None
    from scipy.stats import norm, spearmanr

    value = float(spearmanr(scores, reached).statistic)
    if abs(value) > 1 - _ROUNDING:
        return RankCorrelation(score, round(value), round(value), round(value), number)
    half = float(norm.ppf(0.975)) * math.sqrt((1 + value * value / 2) / (number - 3))
    centre = math.atanh(value)
    return RankCorrelation(score, value, math.tanh(centre - half), math.tanh(centre + half), number)
