"""Cycles against the totals that the vendor publishes, and what follows from the shape of the estimate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.accelerators.cycles import cycles_of_layers, network_cycles
from hybridsplit.profiler.accelerators.shapes import layer_shapes
from hybridsplit.scenarios.inference.accelerators import accelerator_catalogue
from hybridsplit.scenarios.inference.networks import builtin_network
from tests.profiler.accelerators.networks import conv, shapes

CHIP = accelerator_catalogue()["max78000"]
Published = tuple[list[int], dict[str, Any], int]
CONVOLUTIONS: list[Published] = [
    ([3, 32, 32], conv(64, pad=1), 67_981),
    ([3, 32, 32], conv(64), 59_773),
    ([3, 32, 32], conv(64, pool=2), 13_885),
    ([64, 20, 20], conv(16, pool=2, pad=2), 3_049),
    ([3, 65, 65], conv(32, pool=16, pool_stride=4, pad=1), 49_010),
    ([128, 8, 8], conv(16, pool=2, pad=1), 773),
    ([128, 8, 8], conv(16, pad=1), 2_485),
    ([128, 8, 8], conv(16), 1_437),
    ([1, 28, 28], conv(8, pad=1), 8_189),
]
OTHERS: list[Published] = [
    ([79, 11, 11], conv(1), 687),
    ([1, 1, 1], conv(1, pad=1), 29),
    ([12, 1, 1], {"op": "linear", "out": 17}, 20),
    ([12, 4, 4], {"op": "linear", "out": 10}, 193),
    ([12, 8, 8], {"op": "linear", "out": 10}, 770),
    ([3, 7, 9], {"op": "conv-transpose2d", "out": 64, "kernel": 3, "pad": 1, "stride": 2}, 16_837),
    ([4, 12, 12], {"op": "pass", "inputs": ["input", "input"], "join": "add"}, 721),
    (
        [8, 17, 17],
        {"op": "pass", "inputs": ["input", "input"], "join": "add", "pool": 2, "joins_before_pooling": True},
        705,
    ),
]


@pytest.mark.parametrize(("extent", "layer", "cycles"), CONVOLUTIONS + OTHERS)
def test_published_totals_are_met_exactly(extent: list[int], layer: dict[str, Any], cycles: int) -> None:
    assert network_cycles(shapes(extent, layer), CHIP) == cycles


@pytest.mark.parametrize(
    ("name", "layers", "weights", "cycles"),
    [
        ("simplenet", 14, 381_792, 129_311),
        ("kws20-v3", 9, 169_472, 70_646),
        ("convnet5", 4, 69_228, 69_965),
        ("widenet", 27, 1_095_368, 388_024),
    ],
)
def test_whole_networks_come_to_what_an_independent_count_found(
    name: str, layers: int, weights: int, cycles: int
) -> None:
    found = layer_shapes(builtin_network(name))[:layers]
    assert sum(shape.num_weights for shape in found) == weights
    assert network_cycles(found, CHIP) == cycles


def test_a_stream_takes_half_as_long_again() -> None:
    (once,) = cycles_of_layers(shapes([3, 32, 32], conv(64, pad=1)), CHIP)
    (streamed,) = cycles_of_layers(shapes([3, 32, 32], conv(64, pad=1, streams=True)), CHIP)
    assert once == 67_980
    assert streamed == 101_970


def test_adding_before_pooling_reads_ahead_of_the_kernels_before_it() -> None:
    first = conv(8, pad=1, name="a")
    adding = conv(8, pad=1, pool=2, inputs=["a", "b"], join="add", joins_before_pooling=True)
    few = shapes([8, 8, 8], first, conv(8, pad=1, name="b"), adding)
    more = shapes([8, 8, 8], first, conv(8, pad=1, name="b"), {**conv(24, 1), "inputs": ["a"]}, adding)
    # Three edges of 4 pixels, less a corner, wait for 24 kernels more.
    assert cycles_of_layers(more, CHIP)[-1] - cycles_of_layers(few, CHIP)[-1] == (4 + 4 - 1) * 24


@given(
    channels=st.integers(1, 300), extent=st.integers(4, 40), outputs=st.integers(2, 100), pad=st.integers(0, 2),
    kernel=st.sampled_from([1, 3]), pool=st.sampled_from([None, 2]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_more_work_never_takes_fewer_cycles(
    channels: int, extent: int, outputs: int, pad: int, kernel: int, pool: int | None
) -> None:
    pad = min(pad, kernel - 1)
    keys = {} if pool is None else {"pool": pool}
    if extent < 2 * kernel:
        return
    (base,) = cycles_of_layers(shapes([channels, extent, extent], conv(outputs, kernel, pad, **keys)), CHIP)
    (wider,) = cycles_of_layers(shapes([channels + 64, extent, extent], conv(outputs, kernel, pad, **keys)), CHIP)
    (taller,) = cycles_of_layers(shapes([channels, extent + 2, extent + 2], conv(outputs, kernel, pad, **keys)), CHIP)
    (deeper,) = cycles_of_layers(shapes([channels, extent, extent], conv(outputs + 1, kernel, pad, **keys)), CHIP)
    assert 0 < base < min(wider, taller, deeper)


def test_half_as_many_processors_make_twice_as_many_passes() -> None:
    half = CHIP.model_copy(update={"processors": 32})
    (twice,) = cycles_of_layers(shapes([64, 16, 16], conv(32, pad=1)), half)
    (passes,) = cycles_of_layers(shapes([128, 16, 16], conv(32, pad=1)), CHIP)
    assert twice == passes
