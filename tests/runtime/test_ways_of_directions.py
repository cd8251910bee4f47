"""Ways to use directions in ``benchmarks/estimates.py``: unbiased where they say so, as exact as closed forms say."""

from __future__ import annotations

import pytest
import torch

from benchmarks.estimate_variance import Cosines, common_over_clients
from benchmarks.estimates import (
    Estimate,
    LearntTensors,
    NormalisedBlocks,
    OwnDirections,
    Plain,
    SingleBlocks,
    SparseHundredth,
    apportioned,
)

BLOCKS = torch.tensor([0] * 6 + [1] * 14)
TENSORS = torch.tensor([0] * 2 + [1] * 4 + [2] * 14)
PARTS = torch.randn(4, 20, generator=torch.Generator().manual_seed(3))
GRADIENT = PARTS.sum(0)
DRAWS = 4000


def estimates(kind: type[Estimate], parts: torch.Tensor = PARTS, directions: int = 5) -> torch.Tensor:
    """Many estimates of the same gradient, [draws, D]."""
    one = kind(directions, BLOCKS, TENSORS, seed=1)
    return torch.stack([one.of(parts, lambda: GRADIENT, step) for step in range(DRAWS)])


@pytest.mark.parametrize("kind", [Plain, OwnDirections, SingleBlocks, LearntTensors])
def test_the_mean_of_estimates_is_the_gradient(kind: type[Estimate]) -> None:
    found = estimates(kind)
    error = found.std(0) / DRAWS**0.5
    assert ((found.mean(0) - GRADIENT).abs() < 5 * error).all()


@pytest.mark.parametrize(("kind", "closed"), [(Plain, "plain"), (OwnDirections, "parts")])
def test_squared_errors_are_those_of_the_closed_form(kind: type[Estimate], closed: str) -> None:
    judged = Cosines(PARTS, BLOCKS, TENSORS, 5)
    cosine = judged.in_parts(1 if closed == "plain" else 4)
    error = float((estimates(kind) - GRADIENT).square().sum(1).mean() / GRADIENT.square().sum())
    assert error == pytest.approx(1 / cosine - 1, rel=0.1)


def test_common_directions_leave_the_variance_that_own_ones_divide() -> None:
    alike = PARTS[:1].repeat(4, 1)
    own = float((estimates(OwnDirections, alike / 4) - alike[0]).square().sum(1).mean())
    common = float((estimates(Plain, alike / 4) - alike[0]).square().sum(1).mean())
    assert common / own == pytest.approx(4, rel=0.15)
    square = float(alike[0].square().sum())
    assert common_over_clients(alike, 5) == pytest.approx((1 + own / square) / (1 + common / square), rel=0.15)


def test_blocks_are_normalised_each_by_its_own_derivatives() -> None:
    larger = PARTS * torch.where(BLOCKS == 0, 100.0, 1.0)
    torch.testing.assert_close(
        estimates(NormalisedBlocks, larger)[:50], estimates(NormalisedBlocks)[:50], rtol=1e-3, atol=1e-4
    )


def test_sparse_directions_move_the_chosen_parameters_alone() -> None:
    found = estimates(SparseHundredth)[:10]
    moved = found.abs().sum(0).nonzero().flatten().tolist()
    assert moved == [int(GRADIENT.abs().argmax())]


def test_every_group_has_a_direction_and_larger_ones_have_more() -> None:
    shares = apportioned([1, 100, 400], 16)
    assert sum(shares) == 16
    assert min(shares) == shares[0] == 1
    assert shares[2] == pytest.approx(2 * shares[1], abs=1)
