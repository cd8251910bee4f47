"""What a batch is worth: the noise scale's formula, its estimate, and where it comes from."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.profiler.batch_worth import batch_worth, measures_noise_scale, noise_scale
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.progress import Gradients, measured_noise_scale, noise_estimate
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.scenarios.errors import ProfileError, ScenarioError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_scenario
from tests.tiers import one_of

SIZES = st.integers(1, 10_000)
POSITIVE = st.floats(1e-6, 1e6)


def with_objective(scenario: Scenario, **objective: Any) -> Scenario:
    document = scenario.resolved()
    document["objective"] |= objective
    return validate_scenario(document, "changed")


@given(sizes=st.sets(SIZES, min_size=2), scale=POSITIVE)
def test_a_larger_batch_is_worth_more_but_never_more_than_its_samples(sizes: set[int], scale: float) -> None:
    ordered = sorted(sizes)
    largest = ordered[-1]
    worth = [batch_worth(size, largest, scale) for size in ordered]
    assert worth[-1] == 1.0
    assert all(0 < a <= b for a, b in itertools.pairwise(worth))
    assert all(w >= size / largest * (1 - 1e-12) for w, size in zip(worth, ordered, strict=True))


@given(size=SIZES, largest=SIZES)
def test_the_limits_are_no_noise_and_nothing_but_noise(size: int, largest: int) -> None:
    assert batch_worth(size, largest, 1e-12) == pytest.approx(1)
    assert batch_worth(size, largest, 1e15) == pytest.approx(size / largest)


@given(size=SIZES, scale=POSITIVE)
def test_worth_is_that_of_the_paper(size: int, scale: float) -> None:
    """Relative to a step along the true gradient: 1 / (1 + S / B)."""
    assert batch_worth(size, 10**15, scale) == pytest.approx(1 / (1 + scale / size), rel=1e-6)


@given(norm=POSITIVE, trace=POSITIVE, sizes=st.sets(st.integers(1, 1000), min_size=2, max_size=2))
def test_two_batch_sizes_give_back_noise_and_signal(norm: float, trace: float, sizes: set[int]) -> None:
    small, large = sorted(sizes)
    found = noise_estimate(small, norm + trace / small, large, norm + trace / large)
    rounding = 1e-9 * large * (norm + trace)
    assert found.trace == pytest.approx(trace, rel=1e-6, abs=rounding * small)
    assert found.squared_norm == pytest.approx(norm, rel=1e-6, abs=rounding)


def test_the_estimate_finds_a_known_noise_and_signal() -> None:
    """Gradients of single samples drawn around a known G with a known, unequal Σ."""
    rng = np.random.default_rng(0)
    true_gradient = rng.normal(size=50)
    deviation = np.linspace(0.1, 4.0, 50)
    samples = true_gradient + deviation * rng.normal(size=(4_000, 32, 50))
    squared_large = np.square(samples.mean(axis=1)).sum(axis=1).mean()
    squared_small = np.square(samples.reshape(-1, 4, 50).mean(axis=1)).sum(axis=1).mean()
    found = noise_estimate(4, squared_small, 32, squared_large)
    assert found.trace == pytest.approx(np.square(deviation).sum(), rel=0.02)
    assert found.squared_norm == pytest.approx(np.square(true_gradient).sum(), rel=0.02)
    assert found.scale == pytest.approx(np.square(deviation).sum() / np.square(true_gradient).sum(), rel=0.04)


@pytest.mark.parametrize(("small", "large"), [(1.0, 1.1), (8.0, 1.0), (1.0, float("nan")), (float("inf"), 1.0)])
def test_an_estimate_that_says_nothing_is_refused_with_the_fix(small: float, large: float) -> None:
    with pytest.raises(ProfileError, match=r"state objective\.gradient_noise_scale"):
        _ = noise_estimate(4, small, 16, large).scale


@pytest.mark.parametrize("family", one_of(2, ["opt-causal", "resnet"]))
def test_what_is_measured_is_what_single_samples_say(family: str) -> None:
    """Gradients of single samples give nearly the same; without held batch statistics, a ResNet has none."""
    scenario = family_scenario(family, batch_size=32, batch_sizes=[2])
    gradients, data = Gradients(scenario), load_dataset(scenario).train
    gradients.hold_statistics([gradients.draw("gradient-noise", step, 32) for step in range(16)])
    everything, number = gradients.squared_norm(data.batch(torch.arange(len(data)))), len(data)
    singles = np.mean([gradients.squared_norm(data.batch(torch.tensor([i]))) for i in range(200)])
    direct = noise_estimate(1, float(singles), number, everything)
    assert measured_noise_scale(scenario) == pytest.approx(direct.scale, rel=0.2)


def test_stated_comes_before_measured_before_assumed() -> None:
    chosen = family_scenario("bert", batch_sizes=[4])
    assert noise_scale(chosen, None) == chosen.training.batch_size
    assert noise_scale(chosen, 3.5) == 3.5
    assert noise_scale(with_objective(chosen, gradient_noise_scale=2.0), 3.5) == 2.0


def test_it_is_measured_only_where_it_counts_and_is_not_stated() -> None:
    alone, chosen = family_scenario("opt-causal"), family_scenario("opt-causal", modes=["fo"], batch_sizes=[2])
    measured = with_objective(chosen, gradient_split="measured")
    assert not measures_noise_scale(with_objective(alone, gradient_split="measured"))
    assert not measures_noise_scale(chosen)
    assert not measures_noise_scale(with_objective(measured, gradient_noise_scale=5.0))
    assert profile_model(measured).noise_scale == measured_noise_scale(measured)


def test_data_without_a_batch_of_the_largest_size_are_named() -> None:
    scenario = family_scenario("bert", modes=["fo"], batch_sizes=[500])
    with pytest.raises(ScenarioError, match="there are only 205 samples"):
        measured_noise_scale(scenario)
