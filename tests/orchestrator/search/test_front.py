"""Fronts of accuracy against cost, against their definition; and how scores are compared with accuracies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, spearmanr

from hybridsplit.orchestrator.search.front import Judged, front_of, not_told_apart, rank_correlation

FIGURES = st.lists(
    st.tuples(
        st.integers(0, 8), st.integers(1, 8), st.integers(0, 4), st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    ),
    min_size=1,
    max_size=12,
)


def judged(figures: list[tuple[int, int, int, list[int]]]) -> list[Judged]:
    """Models of few different accuracies and costs, each cost with a bound at or below it."""
    return [
        Judged(
            name=f"m{place}",
            value=float(np.mean([accuracy + seed for seed in seeds])),
            cost=float(cost),
            lower_bound=cost - 0.1 * below,
            by_seed={seed: float(accuracy + value) for seed, value in enumerate(seeds)},
        )
        for place, (accuracy, cost, below, seeds) in enumerate(figures)
    ]


@settings(deadline=None)
@given(FIGURES)
def test_every_least_accuracy_has_its_cheapest_model(figures: list[tuple[int, int, int, list[int]]]) -> None:
    models = judged(figures)
    front = front_of(models)
    assert [point.cost for point in front] == sorted({point.cost for point in front})
    assert [point.value for point in front] == sorted({point.value for point in front})
    for least in {one.value for one in models}:
        cheapest = min(one.cost for one in models if one.value >= least)
        assert min(point.cost for point in front if point.value >= least) == cheapest
    for point in front:
        # No plan of a model of at least this accuracy gets below the bound, as far as bounds of plans hold.
        assert all(point.lower_bound <= one.lower_bound for one in models if one.value >= point.value)
        assert point.gap >= 0


@settings(deadline=None)
@given(FIGURES)
def test_who_is_beaten_is_beaten_by_somebody_at_no_more_cost(figures: list[tuple[int, int, int, list[int]]]) -> None:
    models = judged(figures)
    front = front_of(models)
    unsure = not_told_apart(models, front)
    names = {point.name for point in front}
    assert not unsure & names
    for one in models:
        if one.name not in names | unsure:
            assert any(
                other.cost <= one.cost
                and (np.mean(list(other.by_seed.values())) > one.value or other.cost < one.cost)
                and other is not one
                for other in models
            )


def test_seeds_decide_what_is_surely_beaten() -> None:
    """Paired by seed: a constant difference beats, one that changes its sign does not, and one seed says nothing."""
    best = Judged("best", 0.9, 1.0, 1.0, {0: 0.85, 1: 0.9, 2: 0.95})
    shadow = Judged("shadow", 0.89, 2.0, 2.0, {0: 0.84, 1: 0.889, 2: 0.941})
    rival = Judged("rival", 0.89, 2.0, 2.0, {0: 0.93, 1: 0.85, 2: 0.89})
    single = Judged("single", 0.7, 2.0, 2.0, {0: 0.7})
    stated = Judged("stated", 0.8, 3.0, 3.0, {})
    same = Judged("same", 0.9, 2.0, 2.0, best.by_seed)
    models = [best, shadow, rival, single, stated, same]
    assert [point.name for point in front_of(models)] == ["best"]
    assert not_told_apart(models, front_of(models)) == {"rival", "single"}


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_a_rank_correlation_is_spearmans_with_an_interval_like_a_bootstraps(noise: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=40)
    accuracies = scores + noise * rng.normal(size=40)
    found = rank_correlation("s", scores.tolist(), accuracies.tolist())
    assert found is not None
    assert found.value == spearmanr(scores, accuracies).statistic
    drawn = bootstrap(
        (scores, accuracies), lambda x, y: spearmanr(x, y).statistic, paired=True, vectorized=False, rng=rng,
        n_resamples=499,
    ).confidence_interval  # fmt: skip
    assert found.low == pytest.approx(drawn.low, abs=0.15)
    assert found.high == pytest.approx(drawn.high, abs=0.15)


def test_too_little_has_no_rank_correlation() -> None:
    assert rank_correlation("s", [1, 2, 3, 4], [1, 2, 3, 4]) is None
    assert rank_correlation("s", [1, 1, 1, 1, 1], [1, 2, 3, 4, 5]) is None
    perfect = rank_correlation("s", [1, 2, 3, 4, 5], [2, 4, 6, 8, 9])
    assert perfect is not None
    assert (perfect.low, perfect.value, perfect.high) == (1, 1, 1)


def test_a_bound_that_is_not_known_makes_the_gap_unknown_and_not_zero() -> None:
    models = [Judged("a", 0.8, 1.0, 0.9, {}), Judged("b", 0.9, 2.0, None, {})]
    front = front_of(models)
    assert [(point.lower_bound, point.gap) for point in front] == [(None, None), (None, None)], "b may cost less than a"
    cheaper = front_of([Judged("a", 0.95, 1.0, 0.9, {}), Judged("b", 0.9, 2.0, None, {})])
    assert cheaper[0].lower_bound == 0.9
    assert front_of([Judged("a", 0.8, 1.0, 0.0, {})])[0].gap is None, "a bound of nothing proves nothing"
