"""How unlike clients' labels are: nothing by chance, all where no label is shared, and what a partition says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.label_skew import client_skew, distance
from hybridsplit.scenarios.loader import load_scenario

counts = st.lists(st.integers(0, 200), min_size=2, max_size=10)


@given(counts, st.integers(1, 9))
@settings(deadline=None)
def test_the_whole_and_any_even_part_of_it_are_no_distance_away(whole: list[int], parts: int) -> None:
    total = np.array(whole, dtype=float) * parts
    if total.sum() > 0:
        assert distance(total / parts, total) == 0.0
        assert distance(total, total) == 0.0


def test_a_part_that_shares_no_label_with_the_rest_is_as_far_as_it_can_be() -> None:
    assert distance(np.array([100.0, 0.0]), np.array([100.0, 9900.0])) == pytest.approx(0.99, abs=0.01)
    assert distance(np.array([10_000.0, 0.0]), np.array([10_000.0, 10_000.0])) == pytest.approx(0.5, abs=0.01)


@given(st.lists(st.integers(50, 200), min_size=2, max_size=8), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_a_fair_draw_is_near_nothing(whole: list[int], seed: int) -> None:
    """Without what chance shows, samples of 60 out of hundreds would be 0.05 to 0.2 away."""
    rng = np.random.default_rng(seed)
    found = [distance(rng.multivariate_hypergeometric(whole, 60).astype(float), np.array(whole)) for _ in range(40)]
    assert np.mean(found) < 0.05


def test_partitions_of_a_scenario() -> None:
    iid = client_skew(load_scenario("quickstart"))
    assert len(iid) == 6
    assert max(iid.values()) < 0.06
    skewed = client_skew(load_scenario("quickstart", ["data.partition={scheme: dirichlet, alpha: 0.1}"]))
    assert np.mean(list(skewed.values())) > 0.4
    tokens = load_scenario("smart-home", ["data.num_samples=256", "training.sequence_length=8"])
    assert all(0 <= value <= 1 for value in client_skew(tokens).values())
