"""Rounds by all of the way to a target: what they share with one crossing, and what they average."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.pooled_rounds import pooled_rounds
from hybridsplit.profiler.rounds_to import rounds_to


def line(rounds: float, length: int = 60) -> list[float]:
    """A curve from 0 after no round that is at 1 after the given rounds."""
    return [k / rounds for k in range(1, length + 1)]


def test_one_curve_alone_is_where_it_crosses() -> None:
    curve = [0.1, 0.3, 0.5, 0.62, 0.7, 0.8]
    assert pooled_rounds([curve], 0.65, rising=True) == pytest.approx([rounds_to(curve, 0.65, rising=True)])


@given(st.lists(st.floats(4, 30), min_size=1, max_size=6), st.floats(1.5, 10))
@settings(deadline=None)
def test_losses_are_the_mirror_of_accuracies(rounds: list[float], start: float) -> None:
    curves = [line(one) for one in rounds]
    falling = [[start - value for value in curve] for curve in curves]
    assert pooled_rounds(falling, start - 0.9, rising=False) == pytest.approx(pooled_rounds(curves, 0.9, rising=True))


@given(st.floats(1.1, 2.0), st.lists(st.floats(6, 25), min_size=3, max_size=6))
@settings(deadline=None)
def test_curves_of_one_shape_keep_their_ratios(factor: float, rounds: list[float]) -> None:
    """Where all levels agree, nothing but the crossing of the target is left."""
    curves = [line(one) for one in rounds]
    found = pooled_rounds(curves, 1.0, rising=True)
    # The way starts at the median first value, above the 0 that the lines start from.
    assert np.array(found) == pytest.approx([rounds_to(curve, 1.0, rising=True) for curve in curves], rel=0.06)


def test_noise_of_a_crossing_is_averaged() -> None:
    rng = np.random.default_rng(0)
    curves = [[value + rng.normal(0, 0.06) for value in line(20.0)] for _ in range(60)]
    alone = np.log([rounds_to(curve, 0.9, rising=True) for curve in curves])
    assert np.log(pooled_rounds(curves, 0.9, rising=True)).std() < 0.9 * alone.std()


def test_a_target_that_is_not_reached_has_no_rounds() -> None:
    reached, short = line(10.0), line(10.0, 8)
    found = pooled_rounds([reached, short], 1.0, rising=True)
    assert math.isfinite(found[0])
    assert found[1] == math.inf
    assert pooled_rounds([short], 1.0, rising=True) == [math.inf]
    assert pooled_rounds([], 1.0, rising=True) == []
    # A start beyond the target leaves no way to have levels on.
    assert math.isfinite(pooled_rounds([[1.2, 1.1, 1.3]], 1.0, rising=True)[0])
