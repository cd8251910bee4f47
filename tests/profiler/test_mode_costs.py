"""What a step of each mode does and sends, against counts written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from hybridsplit.profiler.compute import block_costs, head_costs
from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.mode_costs import block_seconds, server_step_s
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.models import traced_model
from hybridsplit.profiler.operators import OperatorCounter
from hybridsplit.profiler.options import build_options, profile_scenario
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES, StepSizes
from hybridsplit.scenarios.modes.passes import BlockSeconds
from hybridsplit.scenarios.schema import ZerothOrder
from hybridsplit.testing.families import BATCH_SIZE, family_scenario
from tests.modes import LOCAL_MODES

STEP = 2 * 3_000_000 + 30_000_000
"""Two directions of descent and one update of three blocks."""
HEADS = BlockSeconds(*(np.full(3, 0.1 * 10**i) for i in range(8)), trains=np.array([True, True, True]))
UNIT = BlockSeconds(
    *(np.full(4, float(10**i)) for i in range(8)), trains=np.array([False, True, True, True]), heads=HEADS
)


@pytest.mark.parametrize(
    ("mode", "settings", "cut", "expected"),
    [
        # forward 1, backward 10, without input 10^2, update 10^3, perturbed forward 10^4, forward mode 10^5, descend
        # 10^6, estimated update 10^7; two directions
        (Mode.FROZEN, {}, 3, 3),
        (Mode.FO, {}, 3, 3 + 10 + 100 + 3000),
        (Mode.FO_RECOMPUTE, {}, 3, 3 + 2 + 10 + 100 + 3000),
        (Mode.ZO_PROJECTION, {}, 3, 3 + 2 * 30_000 + STEP),
        (Mode.ZO_PROJECTION, {"projection_sides": "two"}, 3, 3 + 4 * 30_000 + STEP),
        (Mode.ZO_PROJECTION, {"derivative": "forward-mode"}, 3, 3 + 2 * 300_000 + STEP),
        (Mode.ZO_LOSS, {}, 3, 3 + 4 * 30_000 + STEP),
        (Mode.ZO_LOSS, {"loss_sides": "one"}, 3, 3 + 2 * 30_000 + STEP),
        (Mode.ZO_LOSS, {"loss_sides": "one", "anchor": "all-plus"}, 3, 3 + 2 * 30_000 + STEP),
        (Mode.ZO_LOSS, {"anchor": "first-plus"}, 3, 4 * 30_000 + STEP),
        (Mode.ZO_LOSS, {}, 4, 4 * 40_000 + STEP * 4 / 3),
        (Mode.ZO_LOSS, {"loss_sides": "one"}, 4, 4 + 2 * 40_000 + STEP * 4 / 3),
        (Mode.FO, {}, 1, 1),
        # the head is a tenth of a block: forward, backward with the gradient of its input, update
        (Mode.FO_LOCAL, {}, 3, 3 + 10 + 100 + 3000 + 0.1 + 1 + 100),
        (Mode.ZO_LOCAL, {}, 3, 3 + 4 * 31_000 + 2 * 3_100_000 + 31_000_000),
        (Mode.ZO_LOCAL, {"loss_sides": "one"}, 3, 3.1 + 2 * 31_000 + 2 * 3_100_000 + 31_000_000),
    ],
)
def test_passes_of_a_step_on_the_client(mode: Mode, settings: dict[str, Any], cut: int, expected: float) -> None:
    found = MODES[mode].client_step_s(UNIT, cut, ZerothOrder(directions=2, **settings))
    assert found == (expected if isinstance(expected, int) else pytest.approx(expected, rel=1e-12))


def test_a_step_that_sends_nothing_saves_the_clean_forward_of_two_sided_differences() -> None:
    saved = {
        (mode, sides): MODES[mode].saved_without_upload_s(UNIT, 3, ZerothOrder(loss_sides=sides))
        for mode in (Mode.FO_LOCAL, Mode.ZO_LOCAL)
        for sides in ("one", "two")
    }
    assert {key for key, seconds in saved.items() if seconds} == {(Mode.ZO_LOCAL, "two")}
    assert saved[Mode.ZO_LOCAL, "two"] == 3


def test_a_head_that_was_not_traced_is_no_free_one() -> None:
    with pytest.raises(ContractError, match="lacks the costs of auxiliary heads"):
        MODES[Mode.FO_LOCAL].client_step_s(replace(UNIT, heads=None), 3, ZerothOrder())


@pytest.mark.parametrize("mode", [Mode.FO_LOCAL, Mode.ZO_LOCAL])
@pytest.mark.parametrize("family", ["vit", "opt-causal", "resnet"])
def test_products_of_a_local_step_are_those_of_its_estimator(family: str, mode: Mode) -> None:
    """From the costs of blocks and heads, and counted in one step of the estimator, on shapes: within 0.1 %."""
    scenario = family_scenario(family, modes=[mode], zeroth_order={"directions": 2})
    traced = traced_model(scenario)
    costs, heads = block_costs(traced, scenario), head_costs(traced, scenario)
    passes = block_seconds(lambda cost: cost.total_flops, costs, heads)
    for cut in (1, 2):
        with shapes_only(CPU_KERNELS, traced.memo), OperatorCounter() as counter:
            estimator = make_estimator(mode, traced.model.client_part(cut, mode), scenario.training)
            estimator.step(traced.batch, _Silent(), NoiseKey(0, "client", "", 0, 0))
        expected = MODES[mode].client_step_s(passes, cut, scenario.training.zeroth_order)
        assert counter.cost().total_flops == pytest.approx(expected, rel=1e-3)
        assert expected > 0


class _Silent:
    """A server that takes what it is sent and computes nothing."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[None, float]:
        return None, 0.0


@pytest.mark.parametrize(
    ("mode", "settings", "expected"),
    [
        (Mode.FO, {}, 2 + 2 * 10 + 2 * 1000),
        (Mode.ZO_PROJECTION, {}, 2 + 2 * 10 + 2 * 1000),
        (Mode.FROZEN, {}, 2 + 10 + 100 + 2000),
        (Mode.ZO_LOSS, {}, 2 + 10 + 100 + 2000 + 4 * 2),
        (Mode.ZO_LOSS, {"anchor": "first-plus"}, 2 + 10 + 100 + 2000 + 4 * 2),
        (Mode.ZO_LOSS, {"anchor": "all-plus"}, 2 * (2 + 10 + 100) + 2000 + 4 * 2),
        (Mode.ZO_LOSS, {"loss_sides": "one"}, 2 + 10 + 100 + 2000 + 3 * 2),
    ],
)
def test_passes_of_a_step_on_the_server(mode: Mode, settings: dict[str, Any], expected: float) -> None:
    training = family_scenario("vit", zeroth_order={"directions": 2, **settings}).training
    assert server_step_s(UNIT, MODES[mode], 2, training, client_trains=True) == expected
    assert server_step_s(UNIT, MODES[mode], 4, training, client_trains=True) == 0


@pytest.mark.parametrize(
    ("mode", "settings", "expected"),
    [
        (Mode.FROZEN, {}, 4 * 20_000 + STEP * 2 / 3),
        (Mode.FROZEN, {"loss_sides": "one"}, 2 + 2 * 20_000 + STEP * 2 / 3),
        (Mode.ZO_LOSS, {}, 4 * 2 + 4 * 20_000 + STEP * 2 / 3),
        (Mode.ZO_LOSS, {"anchor": "all-plus"}, 4 * 2 + 2 * 4 * 20_000 + STEP * 2 / 3),
    ],
)
def test_passes_of_a_zeroth_order_server(mode: Mode, settings: dict[str, Any], expected: float) -> None:
    zeroth_order = {"directions": 2, **settings}
    scenario = family_scenario(
        "vit", modes=["zo-loss", "frozen"], server_gradient="zeroth-order", zeroth_order=zeroth_order
    )
    assert server_step_s(UNIT, MODES[mode], 2, scenario.training, client_trains=True) == expected


@pytest.mark.parametrize(
    ("mode", "uplink", "downlink"),
    [
        (Mode.FO, 1000 + 80, 1000),
        (Mode.FO_RECOMPUTE, 1000 + 80, 1000),
        (Mode.ZO_PROJECTION, 1000 + 80 + 7 + 4 * 3, 1000 + 8 * 3),
        (Mode.ZO_LOSS, (2 * 3 + 1) * 1000 + 80 + 7, 2 * 3 * 4),
        (Mode.FO_LOCAL, 1000 + 80, 0),
        (Mode.ZO_LOCAL, 1000 + 80, 0),
        (Mode.FROZEN, 1000 + 80, 0),
    ],
)
def test_what_crosses_in_a_step(mode: Mode, uplink: int, downlink: int) -> None:
    """docs/methods/training-modes.md, What crosses per step; that runs send just this is in the contract of modes."""
    sizes = StepSizes(smashed=1000, labels=80, row_ids=7)
    found = MODES[mode].step_bytes(sizes, ZerothOrder(directions=3), client_trains=True)
    assert (found.uplink, found.downlink) == (uplink, downlink)


@pytest.mark.parametrize("mode", sorted(LOCAL_MODES))
def test_only_scalars_cross_when_everything_is_on_the_device(mode: str) -> None:
    found = MODES[mode].bytes_without_server(StepSizes(100, 8, 5), ZerothOrder(directions=3))
    assert (found.uplink, found.downlink) == (4 * 3 + 5 if mode == Mode.ZO_LOSS else 0, 0)


@pytest.mark.parametrize("holder", ["client", "server"])
def test_option_bytes_follow_who_holds_the_labels(holder: str) -> None:
    scenario = family_scenario("vit", label_holder=holder, modes=["fo"])
    table = profile_scenario(scenario).table
    row = table[(table["cut"] == 1) & (table["client"] == "pi-0")].iloc[0]
    a_bytes = row["downlink_bytes"] - row["model_download_bytes"]
    assert row["uplink_bytes"] - row["model_upload_bytes"] == a_bytes + (8 * BATCH_SIZE if holder == "client" else 0)


def test_a_zeroth_order_server_makes_less_progress() -> None:
    pure = family_scenario("vit", modes=["zo-loss", "frozen"], server_gradient="zeroth-order")
    hybrid = family_scenario("vit", modes=["zo-loss", "frozen"])
    by_server = [profile_scenario(s).table.set_index(["client", "cut", "mode"])["progress"] for s in (pure, hybrid)]
    frozen = by_server[0].xs("frozen", level="mode")
    assert (frozen < 0.01).all()
    assert (by_server[0] <= by_server[1]).all()
    assert (by_server[0] > 0).all()


def test_load_of_the_server_and_steps_scale_the_costs() -> None:
    base = load_scenario("quickstart", ["server.load=0.5", "training.local_steps=4"])
    profile = profile_model(base)
    idle = build_options(load_scenario("quickstart", ["server.load=0", "training.local_steps=4"]), profile).table
    busy = build_options(base, profile).table
    assert np.allclose(busy["server_compute_s"], 2 * idle["server_compute_s"])
    longer = build_options(load_scenario("quickstart", ["server.load=0.5", "training.local_steps=8"]), profile).table
    assert np.allclose(longer["client_compute_s"], 2 * busy["client_compute_s"])
    exchange = busy["model_upload_bytes"]
    assert ((longer["uplink_bytes"] - exchange) == 2 * (busy["uplink_bytes"] - exchange)).all()


def test_a_part_with_nothing_to_train_asks_for_no_gradient() -> None:
    lora = {"method": "lora", "rank": 2, "target_modules": ["q_proj"]}
    scenario = family_scenario("opt-causal", trainable=lora)
    table = profile_scenario(scenario).table
    shallow = table[(table["cut"] == 1) & (table["client"] == "pi-0")]
    assert list(shallow["mode"]) == ["fo"]
    assert (shallow["downlink_bytes"] == 0).all()
    assert (shallow["progress"] == 1).all()
