"""Every estimate is a directional derivative, with the error its formula says.

See docs/methods/training-modes.md, The modes; docs/methods/training-modes.md, Identities that tests check.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hybridsplit.runtime.noise import NoiseKey, Perturbed, tangent_along
from hybridsplit.runtime.noise.directions import Distribution
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.testing.families import FAMILIES, family_batch, family_model, family_scenario
from tests.modes import ZEROTH_ORDER_MODES
from tests.runtime.steps import KEY, NO_BATCH_NORM, Sides, exact_derivatives
from tests.tiers import one_of

SIDES_OF = {Mode.ZO_LOSS: "loss_sides", Mode.ZO_PROJECTION: "projection_sides"}


def errors(family: str, mode: Mode, radius: float, **settings: object) -> torch.Tensor:
    sides = Sides.of(family, double=True, zeroth_order={"directions": 3, "radius": radius, **settings})
    exact = exact_derivatives(
        sides, replace(KEY, distribution=sides.scenario.training.zeroth_order.distribution), server_trains=_trains(mode)
    )
    return (sides.derivatives(mode) - exact).abs() / exact.abs().max()


def _trains(mode: Mode) -> bool:
    """λ belongs to the batch statistics of BatchNorm, a probe's loss to its running ones."""
    return mode == Mode.ZO_PROJECTION


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
@pytest.mark.parametrize("family", FAMILIES)
def test_error_falls_with_the_radius_one_sided_and_with_its_square_two_sided(family: str, mode: Mode) -> None:
    for sides, factor, radius in (("one", 10, 1e-5), ("two", 100, 1e-4)):
        settings = {SIDES_OF[mode]: sides}
        wide, narrow = (errors(family, mode, r, **settings).norm() for r in (radius, radius / 10))
        assert wide / narrow == pytest.approx(factor, rel=0.15), sides
        assert narrow < 1e-2


@pytest.mark.parametrize("family", one_of(3, FAMILIES))
def test_forward_mode_is_exact(family: str) -> None:
    """At every cut, to rounding: docs/methods/training-modes.md, Directional derivatives."""
    for distribution in ("gaussian", "sphere", "rademacher"):
        settings = {"derivative": "forward-mode", "distribution": distribution}
        assert errors(family, Mode.ZO_PROJECTION, 1.0, **settings).max() < 1e-12
    sides = Sides.of(family, double=True, zeroth_order={"directions": 1, "derivative": "forward-mode"})
    for cut in range(1, sides.model.num_blocks):
        sides.cut = cut
        exact = exact_derivatives(sides, KEY, server_trains=True)
        torch.testing.assert_close(sides.derivatives(Mode.ZO_PROJECTION), exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("distribution", ["sphere", "rademacher"])
@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_every_distribution_gives_its_own_derivatives(mode: Mode, distribution: str) -> None:
    for family in ("opt-causal", "resnet"):
        assert errors(family, mode, 1e-6, distribution=distribution, **{SIDES_OF[mode]: "two"}).max() < 1e-5


@pytest.mark.parametrize("family", NO_BATCH_NORM)
def test_loss_and_projection_agree_to_second_order(family: str) -> None:
    """HOSL and HO-SFL, both two-sided, along the same directions."""
    gaps = []
    for radius in (1e-4, 1e-5):
        settings = {"directions": 3, "radius": radius, "projection_sides": "two"}
        sides = Sides.of(family, double=True, zeroth_order=settings)
        gaps.append((sides.derivatives(Mode.ZO_LOSS) - sides.derivatives(Mode.ZO_PROJECTION)).abs().max())
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.15)


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_derivatives_do_not_depend_on_the_radius(mode: Mode) -> None:
    """In single precision, over two decades, against their exact value: dropout or dtype faults would show."""
    for radius in (1e-4, 1e-3):
        settings = {"directions": 4, "radius": radius, SIDES_OF[mode]: "two"}
        sides = Sides.of("vit", zeroth_order=settings)
        exact = Sides.of("vit", zeroth_order={"directions": 4, "derivative": "forward-mode"})
        found, expected = sides.derivatives(mode), exact.derivatives(Mode.ZO_PROJECTION)
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_probing_restores_the_bits_of_the_weights(family: str, dtype: str) -> None:
    scenario = family_scenario(family, dtype=dtype)
    model, batch = family_model(scenario), family_batch(scenario)
    part = model.client_part(3).eval()
    before = part.snapshot()
    with torch.no_grad():
        plain = part(batch.inputs, batch.mask_BS)
        for scale in (1e-2, -1e-2):
            with Perturbed(part.trainable(), KEY, 0, scale):
                assert not torch.equal(part(batch.inputs, batch.mask_BS), plain)
        tangent_along(lambda x: part(x, batch.mask_BS), batch.inputs, part.trainable(), KEY, 0)
        assert torch.equal(part(batch.inputs, batch.mask_BS), plain)
    for name, tensor in part.exchanged().items():
        assert torch.equal(tensor, before[name]), name


class _NoForwardDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


def test_an_operator_without_forward_derivative_is_named() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ScenarioError, match="use derivative: finite-difference"):
        tangent_along(lambda x: _NoForwardDerivative.apply(x * weight), torch.ones(3), [("w", weight)], KEY, 0)


def test_nothing_to_perturb_has_no_derivative() -> None:
    tangent = tangent_along(torch.sin, torch.ones(3), [], KEY, 0)
    assert torch.equal(tangent, torch.zeros(3))


@pytest.mark.parametrize(("distribution", "excess"), [("gaussian", 1), ("sphere", -1), ("rademacher", -1)])
def test_estimator_moments(distribution: Distribution, excess: int) -> None:
    """E‖ĝ − g‖² / ‖g‖² on a linear function, where differences are exact; and the estimate has no bias."""
    d, q, repeats = 24, 2, 3000
    expected = (d + excess) / q
    gradient = torch.randn(d, generator=torch.Generator().manual_seed(1)).double()
    found, mean = [], torch.zeros(d).double()
    for repeat in range(repeats):
        key = NoiseKey(repeat, "client", "c", 0, 0, distribution)
        noise = torch.stack([key.draw("w", p, torch.empty(d)).double() for p in range(q)])
        estimate = ((noise @ gradient).unsqueeze(1) * noise).mean(0)
        found.append(float((estimate - gradient).square().sum() / gradient.square().sum()))
        mean += estimate / repeats
    assert sum(found) / repeats == pytest.approx(expected, rel=0.06)
    assert float((mean - gradient).norm() / gradient.norm()) < 3 * (expected / repeats) ** 0.5
