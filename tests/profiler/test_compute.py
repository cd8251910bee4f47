"""Operators, rooflines and mode costs against closed forms and published counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hybridsplit.profiler.compute import block_costs
from hybridsplit.profiler.costs import (
    NO_WORK,
    PRODUCTS,
    RANDOM_FLOPS_PER_ELEMENT,
    BlockCost,
    OperatorClass,
    OperatorCost,
)
from hybridsplit.profiler.mode_costs import block_seconds
from hybridsplit.profiler.models import block_graph, smashed_bytes, traced_model, valid_cuts
from hybridsplit.profiler.operators import _PRODUCTS, OperatorCounter
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.profiler.progress import gradient_split
from hybridsplit.profiler.roofline import check_can_train, seconds
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.devices import catalogue
from hybridsplit.scenarios.errors import ContractError, ProfileError, ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.schema import ZerothOrder
from hybridsplit.testing.families import BATCH_SIZE, FAMILIES, LENGTH, family_scenario


def counted(work) -> OperatorCost:  # type: ignore[no-untyped-def]
    counter = OperatorCounter()
    with counter:
        work()
    return counter.cost()


def test_matrix_products() -> None:
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert counted(lambda: a @ b).total_flops == 2 * 3 * 5 * 7
    assert counted(lambda: F.linear(a, b.T, torch.zeros(7))).total_flops == 2 * 3 * 5 * 7
    assert counted(lambda: torch.bmm(torch.randn(2, 3, 5), torch.randn(2, 5, 7))).total_flops == 2 * 2 * 3 * 5 * 7


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_convolutions_forward_and_backward_grouped_and_depthwise(groups: int) -> None:
    """Forward, gradient of the input and gradient of the weight visit the same triples, whatever the groups."""
    x = torch.randn(2, 8, 6, 6, requires_grad=True)
    weight = torch.randn(16, 8 // groups, 3, 3, requires_grad=True)
    forward = 2 * 2 * 16 * 6 * 6 * (8 // groups) * 9
    assert counted(lambda: F.conv2d(x, weight, padding=1, groups=groups)).total_flops == forward
    y = F.conv2d(x, weight, padding=1, groups=groups)
    assert counted(lambda: y.sum().backward()).total_flops == 2 * forward
    frozen = F.conv2d(x.detach(), weight, padding=1, groups=groups)
    assert counted(lambda: frozen.sum().backward()).total_flops == forward


def test_attention_is_counted_on_the_cpu() -> None:
    query, key, value = (torch.randn(2, 4, 10, 8, requires_grad=True) for _ in range(3))
    forward = 2 * 2 * 4 * 10 * 10 * (8 + 8)
    assert counted(lambda: F.scaled_dot_product_attention(query, key, value)).total_flops == forward
    out = F.scaled_dot_product_attention(query, key, value)
    assert counted(lambda: out.sum().backward()).total_flops == 2.5 * forward


aten = torch.ops.aten


@pytest.mark.parametrize("kernel", ["flash_attention", "efficient_attention", "cudnn_attention"])
def test_fused_attention_of_cuda_follows_the_closed_form(kernel: str) -> None:
    """Two products of S x T scores forward, five backward; on the meta device, where no GPU is needed."""
    b, h, s, t, d = 2, 4, 16, 24, 8
    query, out = (torch.empty(b, h, s, d, dtype=torch.float16, device="meta") for _ in range(2))
    key = torch.empty(b, h, t, d, dtype=torch.float16, device="meta")
    op = getattr(aten, f"_scaled_dot_product_{kernel}")
    forward = _PRODUCTS[op]((query, key, key), (out,))
    assert forward == 2 * 2 * b * h * s * t * d
    backward = _PRODUCTS[getattr(aten, f"_scaled_dot_product_{kernel}_backward")]((out, query, key, key), None)
    assert backward == 5 * 2 * b * h * s * t * d


def test_grouped_query_attention_counts_every_query_head() -> None:
    """Keys and values shared by heads are read less often, not multiplied less often."""
    query, key = torch.randn(2, 8, 10, 4), torch.randn(2, 2, 10, 4)
    found = counted(lambda: F.scaled_dot_product_attention(query, key, key, enable_gqa=True))
    assert found.total_flops == 2 * 2 * 2 * 8 * 10 * 10 * 4


def test_batched_product_with_addition() -> None:
    a, b, c = torch.randn(3, 4, 5), torch.randn(3, 5, 6), torch.randn(3, 4, 6)
    assert counted(lambda: torch.baddbmm(c, a, b)).total_flops == 2 * 3 * 4 * 5 * 6


@pytest.mark.parametrize("groups", [1, 4])
def test_convolutions_of_one_dimension_and_transposed(groups: int) -> None:
    x = torch.randn(2, 8, 20, requires_grad=True)
    weight = torch.randn(12, 8 // groups, 5, requires_grad=True)
    forward = 2 * 2 * 12 * 16 * (8 // groups) * 5
    assert counted(lambda: F.conv1d(x, weight, groups=groups)).total_flops == forward
    y = F.conv1d(x, weight, groups=groups)
    assert counted(lambda: y.sum().backward()).total_flops == 2 * forward
    # Transposed, every input position meets every weight of its group once, whatever the stride.
    image = torch.randn(2, 8, 6, 6, requires_grad=True)
    up = torch.randn(8, 12 // groups, 4, 4, requires_grad=True)
    forward = 2 * 2 * 36 * 8 * (12 // groups) * 16
    assert counted(lambda: F.conv_transpose2d(image, up, stride=2, groups=groups)).total_flops == forward
    z = F.conv_transpose2d(image, up, stride=2, groups=groups)
    assert counted(lambda: z.sum().backward()).total_flops == 2 * forward


def test_convolutions_are_told_apart() -> None:
    x = torch.randn(1, 8, 6, 6, requires_grad=True)

    def classes(weight: torch.Tensor, **how: int) -> tuple[set[int], set[int]]:
        forward = counted(lambda: F.conv2d(x, weight, **how))
        y = F.conv2d(x, weight, **how)
        backward = counted(lambda: y.sum().backward())
        kinds = [{int(k) for k in cost.operator_class if OperatorClass(k) in PRODUCTS} for cost in (forward, backward)]
        return kinds[0], kinds[1]

    dense, pointwise, depthwise = torch.randn(4, 8, 3, 3), torch.randn(4, 8, 1, 1), torch.randn(8, 1, 3, 3)
    assert classes(dense) == ({OperatorClass.CONVOLUTION}, {OperatorClass.CONVOLUTION})
    assert classes(pointwise) == ({OperatorClass.POINTWISE_FORWARD}, {OperatorClass.CONVOLUTION})
    assert classes(depthwise, groups=8) == ({OperatorClass.GROUPED_FORWARD}, {OperatorClass.GROUPED_BACKWARD})
    # A patch of 8 x 3 x 3 values at 16 positions, written and read; a 1x1 patch is the image itself.
    assert counted(lambda: F.conv2d(x.detach(), dense)).unfolded_bytes.max() == 2 * 4 * 16 * 72
    assert counted(lambda: F.conv2d(x.detach(), pointwise)).unfolded_bytes.max() == 0


def test_views_are_free_and_traffic_is_not() -> None:
    x = torch.randn(100)
    assert counted(lambda: x.view(10, 10).t()).total_bytes == 0
    assert counted(lambda: x + 1).total_bytes == 800


def test_an_operator_without_a_formula_is_an_error() -> None:
    with pytest.raises(ProfileError, match="no cost formula"):
        counted(_unknown_product)


def _unknown_product() -> None:
    torch.ops.aten._int_mm.default(torch.ones(32, 32, dtype=torch.int8), torch.ones(32, 32, dtype=torch.int8))


RESNET = {"model_type": "resnet", "num_channels": 3, "embedding_size": 64, "num_labels": 1000}
PUBLISHED = {
    # torchvision 0.29 metadata, GMACs of a 224-pixel image
    "resnet18": (1.814, {**RESNET, "layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}),
    "resnet50": (4.089, {**RESNET, "layer_type": "bottleneck", "depths": [3, 4, 6, 3]}),
    "vit_b_16": (17.564, {"model_type": "vit", "num_labels": 1000}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_forward_macs_are_the_published_ones(name: str) -> None:
    gmacs, config = PUBLISHED[name]
    scenario = load_scenario("quickstart", [f"model.config={config}", "data.image_size=224", "training.batch_size=1"])
    found = sum(cost.forward.total_flops for cost in block_costs(traced_model(scenario), scenario)) / 2e9
    assert found == pytest.approx(gmacs, rel=0.02)


def test_opt_layer_follows_the_closed_form() -> None:
    """24 D² per token for the linear layers and 4 S D for attention (D hidden, S tokens)."""
    scenario = family_scenario("opt-causal")
    layer = block_costs(traced_model(scenario), scenario)[1]
    d, ffn, tokens = 16, 32, BATCH_SIZE * LENGTH
    assert layer.forward.total_flops == tokens * (2 * 4 * d * d + 2 * 2 * d * ffn + 4 * LENGTH * d)
    # Attention's backward is five products where forward has two; linear layers' is twice.
    linear, attention = tokens * (8 * d * d + 4 * d * ffn), tokens * 4 * LENGTH * d
    assert layer.backward.total_flops == 2 * linear + 2.5 * attention


def test_lora_backward_skips_frozen_weights() -> None:
    full = family_scenario("bert")
    lora = family_scenario("bert", trainable={"method": "lora", "rank": 2, "target_modules": ["query", "value"]})
    full_layer = block_costs(traced_model(full), full)[1]
    lora_layer = block_costs(traced_model(lora), lora)[1]
    assert lora_layer.backward.total_flops < 0.75 * full_layer.backward.total_flops
    assert lora_layer.num_trainable == 2 * 2 * (16 * 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_cut_of_every_family_is_valid_and_carries_bytes(family: str) -> None:
    traced = traced_model(family_scenario(family))
    graph = block_graph(traced)
    cuts = valid_cuts(graph)
    assert cuts == list(range(1, traced.model.num_blocks + 1))
    assert all(smashed_bytes(graph, cut) > 0 for cut in cuts[:-1])
    assert smashed_bytes(graph, cuts[-1]) == 0


def test_roofline_takes_the_larger_of_arithmetic_and_traffic() -> None:
    device = catalogue()["jetson_nano_4gb"]
    a = torch.randn(64, 64)
    product, sum_ = counted(lambda: a @ a), counted(lambda: a + a)
    assert device.fp32_flops_per_s is not None
    assert device.memory_bandwidth_bytes_per_s is not None
    assert device.efficiency is not None
    compute_s = 2 * 64**3 / (device.efficiency.matmul * device.fp32_flops_per_s)
    traffic_s = 3 * 4 * 64**2 / (device.efficiency.memory * device.memory_bandwidth_bytes_per_s)
    assert seconds(product, device) == pytest.approx(max(compute_s, traffic_s))
    assert seconds(sum_, device) == pytest.approx(traffic_s)
    assert seconds(NO_WORK, device) == 0.0


@pytest.mark.parametrize(
    ("device", "needle"), [("max78000", "only infers"), ("laptop_ryzen_ai_340", "fp32_flops_per_s")]
)
def test_a_device_without_a_figure_is_an_error(device: str, needle: str) -> None:
    with pytest.raises(ScenarioError, match=needle):
        check_can_train(catalogue()[device], "clients.0.device")


def traced_costs(**training: Any) -> list[BlockCost]:
    scenario = family_scenario("opt-causal", **training)
    return block_costs(traced_model(scenario), scenario)


def test_optimizers_and_clipping_cost_what_they_touch() -> None:
    """Bytes moved of each block's update, by what is asked for."""
    plain = traced_costs()
    adamw = {"name": "adamw", "learning_rate": 1e-3}
    clipped = traced_costs(gradient_clip={"norm": 1.0, "over": "parameter"})
    own_server = traced_costs(server_optimizer=adamw)
    estimated = traced_costs(zeroth_order={"optimizer": adamw})
    for block, with_clip, with_server, with_state in zip(plain, clipped, own_server, estimated, strict=True):
        assert block.update.total_bytes == block.server_update.total_bytes > 0
        assert block.estimated_update.total_bytes == 0
        assert with_clip.update.total_bytes > block.update.total_bytes
        assert with_server.update.total_bytes == block.update.total_bytes
        assert with_server.server_update.total_bytes > 2 * block.update.total_bytes
        assert with_state.estimated_update.total_bytes == with_server.server_update.total_bytes


def test_noise_costs_by_distribution() -> None:
    """A normal number an entry, or a word of bits for 64 of them."""
    drawn = {}
    for distribution in ("gaussian", "sphere", "rademacher"):
        layer = traced_costs(zeroth_order={"distribution": distribution})[1].perturbed_forward
        is_random = layer.of_class(OperatorClass.RANDOM)
        drawn[distribution] = float((layer.flops * layer.count)[is_random].sum()) / RANDOM_FLOPS_PER_ELEMENT
    parameters = traced_costs()[1].num_trainable
    assert drawn["gaussian"] == drawn["sphere"] == parameters
    assert parameters / 64 <= drawn["rademacher"] < parameters / 30


def test_forward_mode_is_priced_where_it_is_used_and_missing_elsewhere() -> None:
    """Its products are the forward's and one or two of tangents; not traced, it has no price, never a zero one."""
    used = traced_costs(zeroth_order={"derivative": "forward-mode"})
    for block in used[1:]:
        assert block.forward_mode is not None
        assert 2 * block.forward.total_flops < block.forward_mode.total_flops < 4 * block.forward.total_flops
    unused = traced_costs()
    assert all(block.forward_mode is None for block in unused)
    seconds_of = block_seconds(lambda cost: cost.total_bytes, unused)
    settings = ZerothOrder(derivative="forward-mode")
    assert np.isnan(MODES[Mode.ZO_PROJECTION].client_step_s(seconds_of, 2, settings))
    assert np.isfinite(MODES[Mode.ZO_LOSS].client_step_s(seconds_of, 2, settings))


def test_option_table_marks_what_does_not_fit_and_keeps_it() -> None:
    table = profile_scenario(load_scenario("quickstart")).table
    assert not table["fits"].all()
    assert (table["fits"] == (table["client_peak_bytes"] <= table["memory_budget_bytes"])).all()
    assert table.groupby("client")["data_weight"].first().sum() == pytest.approx(1)
    exact = table[table["mode"].isin(["fo", "fo-recompute"])]
    assert (exact["progress"] == 1).all()
    assert (table[table["mode"] == "zo-projection"]["progress"] < 1).all()
    assert (table["uplink_bytes"] >= table["model_upload_bytes"]).all()


def test_gradient_split_is_a_distribution() -> None:
    for how in ("assumed", "measured"):
        scenario = load_scenario("quickstart", [f"objective.gradient_split={how}"])
        split = gradient_split(scenario, block_costs(traced_model(scenario), scenario))
        assert split.sum() == pytest.approx(1)
        assert (split >= 0).all()


def test_option_table_round_trips_and_refuses_missing_costs(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from hybridsplit.scenarios.contracts.options import OptionTable

    options = profile_scenario(load_scenario("quickstart"))
    options.save(tmp_path / "o.parquet")
    assert OptionTable.load(tmp_path / "o.parquet").table.equals(options.table)
    broken = options.table.copy()
    broken.loc[3, "client_compute_s"] = float("nan")
    with pytest.raises(ContractError, match=r"client_compute_s = nan for client pi4-0.*never zero"):
        OptionTable(broken)
    (tmp_path / "o.parquet").write_bytes(b"not parquet")
    with pytest.raises(ContractError, match="not a readable Parquet file"):
        OptionTable.load(tmp_path / "o.parquet")
