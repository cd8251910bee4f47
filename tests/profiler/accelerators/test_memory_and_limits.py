"""What fits into the memories of the two chips, and each limit of theirs, by table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.accelerators.data_memory import crossing, working_bytes
from hybridsplit.profiler.accelerators.kernel_memory import groups_used, kernel_bytes, part_heights
from hybridsplit.profiler.accelerators.shapes import layer_shapes
from hybridsplit.profiler.accelerators.support import unsupported_layers
from hybridsplit.scenarios.inference.accelerators import accelerator_catalogue
from hybridsplit.scenarios.inference.networks import builtin_network, network_names
from tests.profiler.accelerators.networks import conv, network, shapes

CHIPS = accelerator_catalogue()
SMALL, LARGE = CHIPS["max78000"], CHIPS["max78002"]


def test_memories_are_the_published_ones() -> None:
    assert SMALL.processors * SMALL.kernel_bytes_per_processor == 442_368
    # Of the MAX78002, 4 processors have 1,024 kernels more, of which no use is made.
    assert LARGE.processors * LARGE.kernel_bytes_per_processor + 4 * 1024 * 9 == 2_340 * 1024
    assert [chip.instances for chip in (SMALL, LARGE)] == [16, 16]
    assert SMALL.instances * SMALL.data_bytes_per_instance == 512 * 1024
    assert LARGE.instances * LARGE.data_bytes_per_instance == 1_280 * 1024
    assert all(chip.source for chip in CHIPS.values())


def test_128_by_128_kernels_take_four_times_the_room_of_64_by_64() -> None:
    (small,) = shapes([64, 8, 8], conv(64))
    (large,) = shapes([128, 8, 8], conv(128))
    assert kernel_bytes(small, SMALL) == 64 * 9
    assert kernel_bytes(large, SMALL) == 4 * 64 * 9


@pytest.mark.parametrize(
    ("name", "fits_one", "devices"),
    [("convnet5", True, 1), ("kws20-v3", True, 1), ("simplenet", True, 1), ("ressimplenet", True, 1),
     ("unet-large", True, 1), ("widenet-14", False, 2), ("widenet", False, 3), ("efficientnetv2-plain", False, 2)],
)  # fmt: skip
def test_published_networks_fit_where_they_are_said_to(name: str, fits_one: bool, devices: int) -> None:
    found = builtin_network(name)
    sizes = layer_shapes(found)
    height = part_heights(sizes, SMALL)[-1]
    assert (height <= SMALL.kernel_bytes_per_processor) == fits_one
    assert -(-height // SMALL.kernel_bytes_per_processor) == devices
    assert max(working_bytes(found, sizes, SMALL)) <= SMALL.data_bytes_per_instance


def test_layers_of_mobilenet_are_more_than_one_small_chip_configures() -> None:
    assert len(builtin_network("mobilenetv2-0.75").layers) > SMALL.most_layers
    assert len(builtin_network("mobilenetv2-0.75").layers) <= LARGE.most_layers


def test_what_each_chip_runs_of_the_published_networks() -> None:
    refused = {
        (name, chip): len(unsupported_layers(builtin_network(name), layer_shapes(builtin_network(name)), CHIPS[chip]))
        for name in network_names()
        for chip in CHIPS
    }
    depthwise = {("efficientnetv2", "max78000"): 4, ("mobilenetv2-0.5", "max78000"): 17}
    assert {key: count for key, count in refused.items() if count} == {
        **depthwise, ("mobilenetv2-0.75", "max78000"): 17,
        # Its vendor has a list of its own for the larger chip, which pads no wide one-dimensional convolution.
        ("kws20-v3", "max78002"): 3,
    }  # fmt: skip


LIMITS: list[tuple[list[int], dict[str, Any], str, bool, bool]] = [
    ([8, 8, 8], conv(8, 5), "kernel 5 x 5", False, False),
    ([8, 8, 8], conv(8, 3, stride=2), "stride 2; needs 1", False, False),
    ([8, 8, 8], conv(8, 3, 3), "padding 3", False, False),
    ([8, 8, 8], conv(8, 1, pool=17), "larger than its input", False, False),
    ([8, 40, 40], conv(8, 1, pool=17), "pooling of 17", False, False),
    ([8, 40, 40], conv(8, 3, dilation=2), "dilation 2", False, True),
    ([8, 8, 8], conv(8, groups=8), "8 groups; needs 1", False, True),
    ([8, 8, 8], conv(8, groups=2), "2 groups; needs 1", False, False),
    ([1025, 8, 8], conv(8, 1), "reads 1025 channels", False, True),
    ([8, 8, 8], conv(1025, 1), "writes 1025 channels", False, True),
    ([8, 8, 8], conv(2049, 1), "writes 2049 channels", False, False),
    ([1, 1024, 1], conv(1, 1), "reads 1024 x 1;", False, True),
    ([1, 2048, 1], conv(1, 1), "reads 2048 x 1;", False, False),
    ([1, 91, 91], conv(4, 1), "8,281 pixels a channel", False, True),
    ([1, 144, 144], conv(4, 1), "20,736 pixels a channel", False, False),
    ([8, 8, 8], conv(513, 1, bias=True), "513 outputs with biases", False, True),
    ([8, 8, 8], conv(8, weight_bits=3), "weights of 3 bits", False, False),
    ([8, 8, 8], conv(8, activation="sigmoid"), "activation sigmoid", False, False),
    ([8, 20], {"op": "conv1d", "out": 8, "kernel": 10}, "kernel of length 10", False, False),
    ([8, 20], {"op": "conv1d", "out": 8, "kernel": 4, "dilation": 2}, "dilation 2; needs at most 1", False, False),
    ([8, 20], {"op": "conv1d", "out": 8, "kernel": 3, "dilation": 7}, "", True, True),
    ([65, 20], {"op": "conv1d", "out": 8, "kernel": 3, "pad": 1}, "padding with 65", True, False),
    ([4, 17, 17], {"op": "linear", "out": 8}, "flattens 289 pixels", False, False),
    ([100, 16, 16], {"op": "linear", "out": 8}, "flattens 25,600 values", False, False),
    ([8, 8, 8], {"op": "conv-transpose2d", "out": 8, "kernel": 1, "stride": 2}, "kernel 1 with stride 2", False, False),
    ([1024, 2, 2], conv(128, 3, 1), "kernels take 18,432 B of a processor, 11,520 B more", False, True),
    ([64, 80, 80], conv(128, 3, 1), "of an instance of data memory", False, True),
]


@pytest.mark.parametrize(("extent", "layer", "words", "small", "large"), LIMITS)
def test_limits_are_named_in_words(
    extent: list[int], layer: dict[str, Any], words: str, small: bool, large: bool
) -> None:
    if "larger than its input" in words:
        with pytest.raises(ValueError, match="layer l0: pool 17 is larger than its input of 8 x 8"):
            shapes(extent, layer)
        return
    found = network(extent, layer)
    for chip, is_supported in ((SMALL, small), (LARGE, large)):
        faults = unsupported_layers(found, layer_shapes(found), chip)
        assert bool(faults) != is_supported, (chip.name, faults)
        if faults:
            assert any(words in fault for fault in faults[0]), faults


def test_fewer_bits_need_less_room() -> None:
    heights = [part_heights(shapes([32, 8, 8], conv(64, weight_bits=bits)), SMALL)[-1] for bits in (8, 4, 2, 1)]
    assert heights == [576, 288, 144, 72]


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_placement_holds_every_layer_and_grows_with_each(widths: list[tuple[int, int]]) -> None:
    layers, channels = [], 3
    for outputs, _ in widths:
        layers.append(conv(outputs, 1))
    found = shapes([channels, 4, 4], *layers)
    heights = part_heights(found, SMALL)
    area = sum(kernel_bytes(shape, SMALL) * groups_used(shape, SMALL) for shape in found)
    assert heights == sorted(heights)
    assert heights[-1] * SMALL.instances >= area
    assert heights[-1] <= sum(kernel_bytes(shape, SMALL) for shape in found)


def test_what_crosses_a_cut_is_all_that_is_read_behind_it() -> None:
    residual = network(
        [4, 8, 8],
        conv(8, 1, name="a"), conv(8, 3, 1, name="b"), conv(8, 3, 1, name="c"),
        {"op": "pass", "name": "d", "inputs": ["a", "c"], "join": "add"}, conv(4, 1),
    )  # fmt: skip
    assert crossing(residual) == [[0], [1], [1, 2], [1, 3], [4], [5]]
    chain = network([4, 8, 8], conv(8, 1), conv(8, 1))
    assert crossing(chain) == [[0], [1], [2]]


def test_a_skipped_tensor_stays_in_data_memory() -> None:
    plain = network([64, 16, 16], conv(64, 1), conv(64, 1), conv(64, 1))
    skipping = network(
        [64, 16, 16], conv(64, 1, name="a"), conv(64, 1, name="b"),
        {"op": "pass", "inputs": ["a", "b"], "join": "add"},
    )  # fmt: skip
    one = 16 * 16 * 4
    assert working_bytes(plain, layer_shapes(plain), SMALL) == [2 * one, 2 * one, 2 * one]
    assert working_bytes(skipping, layer_shapes(skipping), SMALL) == [2 * one, 2 * one, 3 * one]
