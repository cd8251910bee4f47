"""Layer lists of torch models: the same as by hand, and everything else named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.profiler.accelerators.cycles import network_cycles
from hybridsplit.profiler.accelerators.shapes import layer_shapes
from hybridsplit.profiler.accelerators.support import unsupported_layers
from hybridsplit.profiler.accelerators.traced import layer_list, save_layer_list
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.inference.accelerators import accelerator_catalogue
from hybridsplit.scenarios.inference.networks import builtin_network, network_values

CHIP = accelerator_catalogue()["max78000"]


def block(inputs: int, outputs: int, kernel: int = 3, pool: bool = False) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [*([nn.MaxPool2d(2)] if pool else []), convolution, nn.ReLU()]


def simplenet() -> nn.Module:
    widths = [(3, 16), (16, 20), (20, 20), (20, 20)]
    modules = [module for pair in widths for module in block(*pair)]
    modules += [*block(20, 20, pool=True), *block(20, 20), *block(20, 44), *block(44, 48, pool=True), *block(48, 48)]
    modules += [*block(48, 96, pool=True), *block(96, 512, 1, pool=True), *block(512, 128, 1)]
    modules += [*block(128, 128, pool=True), nn.Conv2d(128, 100, 1, bias=False), nn.Flatten()]
    return nn.Sequential(*modules)


class Residual(nn.Module):
    """A sum, a concatenation, normalisation, adaptive pooling and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.pool, self.head = nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        summed = F.relu(x + self.norm(self.second(x)))
        return self.head(torch.flatten(self.pool(torch.cat([summed, x], dim=1)), 1))


def test_a_traced_network_costs_what_its_list_by_hand_does() -> None:
    traced = layer_list(simplenet(), [3, 32, 32], "traced")
    shapes, by_hand = layer_shapes(traced), layer_shapes(builtin_network("simplenet"))
    assert network_cycles(shapes, CHIP) == network_cycles(by_hand, CHIP) == 129_311
    assert [one.num_weights for one in shapes] == [one.num_weights for one in by_hand]
    assert unsupported_layers(traced, shapes, CHIP) == {}


def test_sums_concatenations_and_pools_become_layers_of_the_right_shapes() -> None:
    model = Residual().eval()
    traced = layer_list(model, [4, 8, 8], "residual")
    shapes = layer_shapes(traced)
    assert [one.layer.op for one in shapes] == ["conv2d", "conv2d", "pass", "pass", "linear"]
    assert [(one.written.channels, one.written.rows) for one in shapes] == [(8, 8), (8, 8), (8, 8), (16, 1), (5, 1)]
    assert shapes[1].layer.bias, "normalisation leaves a bias"
    assert shapes[2].layer.join == "add"
    assert shapes[2].layer.activation == "relu"
    assert (shapes[3].layer.join, shapes[3].layer.pool) == ("concat", 8)
    assert unsupported_layers(traced, shapes, CHIP) == {}
    weights = sum(one.numel() for one in model.parameters() if one.dim() > 1)
    assert sum(one.num_weights for one in shapes) == weights


def test_what_a_chip_does_not_support_is_named_layer_by_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.GELU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU())
    traced = layer_list(model, [3, 16, 16], "tried")
    faults = unsupported_layers(traced, layer_shapes(traced), CHIP)
    assert [words.split(";")[0] for words in faults[0]] == ["activation gelu", "kernel 5 x 5", "stride 2"]
    assert faults[1] == ["8 groups; needs 1"]


def test_what_no_layer_can_state_is_named_operation_by_operation() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, (1, 3)),
        nn.LayerNorm(14),
        nn.Conv2d(8, 8, 3, padding_mode="reflect"),
        nn.MaxPool2d(3, padding=1),
    )
    with pytest.raises(ProfileError) as caught:
        layer_list(model, [3, 16, 16], "tried")
    for words in ("0: Conv2d with kernel size (1, 3)", "1: LayerNorm", "2: Conv2d with padding mode reflect", "3: Max"):
        assert words in str(caught.value)


def test_control_flow_that_follows_values_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ProfileError, match="cannot be traced"):
        layer_list(Branching(), [3, 8, 8], "tried")


def test_a_saved_list_is_read_by_scenarios(tmp_path: Path) -> None:
    traced = layer_list(Residual(), [4, 8, 8], "residual", weight_bits=4)
    save_layer_list(traced, tmp_path / "residual.yaml")
    read = network_values("residual.yaml", tmp_path, "here")
    assert read == traced.model_dump(mode="json", exclude_defaults=True)
    assert {layer.get("weight_bits") for layer in read["layers"] if layer["op"] != "pass"} == {4}


def test_the_model_is_left_as_it_is() -> None:
    model = Residual().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_list(model, [4, 8, 8], "residual")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
