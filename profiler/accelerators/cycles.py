"""Cycles of a layer by the vendor's published estimate for the MAX78000, in our own statement of it.

The estimate leaves out loading weights and data, unloading results, and waking up. It holds for a clock without
pipelining. With 128 inputs, two passes are made over 64 processors; every pass reads a pixel in as many cycles as it
pools, and one more to write it to the buffer of its processor.

A layer that adds before it pools, in several passes or of several operands, also reads ahead, for as many cycles a
pixel as kernels stand before its own in memory.
"""

from __future__ import annotations

from hybridsplit.profiler.accelerators.kernel_memory import passes
from hybridsplit.profiler.accelerators.shapes import LayerShape
from hybridsplit.scenarios.inference.accelerators import Accelerator

START_CYCLES = 1
"""Of a network, or of a part of it."""
_FLATTENED_AT_ONCE = 16
"""Pixels that a linear layer reads without setting up its flattening."""
_WRITING_GROUP, _WRITTEN_AT_ONCE = 16, 4
"""Processors that write one after another, and channels that go into one word."""


def layer_cycles(shape: LayerShape, accelerator: Accelerator, kernel_offset: int = 0) -> int:
    """Return the cycles of one layer.

    Parameters
    ----------
    shape
        The layer.
    accelerator
        What it runs on.
    kernel_offset
        Kernels of earlier layers in the memory of its processors; it matters only to layers that add before they pool.
    """
    layer, pooled, written = shape.layer, shape.pooled, shape.written
    num_passes = passes(shape.pooled.channels, accelerator)
    area = _pooled_area(shape)
    adds_first = layer.joins_before_pooling and shape.elements > 1
    if adds_first:
        pad_read = 2 * num_passes
        data_read = num_passes * (shape.elements * area + 1)
        repeats = num_passes
    else:
        pad_read = 2 * num_passes * shape.elements
        data_read = num_passes * shape.elements * (area + 1)
        repeats = 1
    if layer.op == "pass":
        if num_passes > 1 and area > 1:
            data_read = data_read // num_passes * (2 * num_passes - 1)
            num_passes = 2 * num_passes - 1
        return pooled.rows * pooled.columns * (data_read + num_passes * _write_slots(shape, num_passes))
    rows, columns, output_columns = pooled.rows, pooled.columns, written.columns
    if layer.op == "conv-transpose2d":
        rows, columns = 2 * rows, 2 * columns
    if layer.op == "linear":
        # As a 1x1 convolution that writes every output at every pixel: so it is in the vendor's published case.
        output_columns = columns
    pad_rows, pad_columns = shape.pad_rows, shape.pad_columns
    leading_rows = shape.kernel_rows - 1 - pad_rows
    leading_columns = shape.kernel_columns - 1 - pad_columns
    beside = 2 * pad_columns * (pad_read + 1)
    top = beside + repeats * columns * (pad_read + 1)
    head = beside + repeats * columns * (data_read + 1)
    edges = pad_columns * (pad_read + 1) + pad_columns * pad_read
    row = edges + repeats * (leading_columns * (data_read + 1) + (output_columns - pad_columns) * data_read)
    low = edges + repeats * (leading_columns * (pad_read + 1) + (output_columns - pad_columns) * pad_read)
    out = num_passes * output_columns * written.channels
    if written.channels == 1 and num_passes == 1:
        out += 1
    cycles = pad_rows * top + leading_rows * head + (row + out) * (rows - leading_rows) + pad_rows * (low + out)
    if adds_first:
        ahead = (rows + 2 * pad_rows - shape.kernel_columns + 1) * pad_columns
        ahead += (columns + 2 * pad_columns - shape.kernel_rows + 1) * pad_rows - pad_rows * pad_columns
        cycles += ahead * kernel_offset
    if layer.op == "linear" and rows * columns > _FLATTENED_AT_ONCE:
        cycles += 1
    # Streaming takes half as long again, rounded up to a tenth.
    return -(-15 * cycles // 10) if layer.streams else cycles


def network_cycles(shapes: tuple[LayerShape, ...], accelerator: Accelerator) -> int:
    """Return the cycles of a network that runs on one accelerator.

    Parameters
    ----------
    shapes
        Its layers.
    accelerator
        What it runs on.
    """
    return START_CYCLES + sum(cycles_of_layers(shapes, accelerator))


def cycles_of_layers(shapes: tuple[LayerShape, ...], accelerator: Accelerator) -> list[int]:
    """Return the cycles of every layer, kernels of all layers before it counted as standing before its own.

    Parameters
    ----------
    shapes
        All layers of a network.
    accelerator
        What they run on.
    """
    found, offset = [], 0
    for shape in shapes:
        found.append(layer_cycles(shape, accelerator, offset))
        if shape.layer.op != "pass":
            offset += passes(shape.pooled.channels, accelerator) * shape.written.channels
    return found


def _write_slots(shape: LayerShape, num_passes: int) -> int:
    """Return the cycles in which a layer without a kernel writes a pixel, in each pass."""
    in_a_pass = -(-shape.pooled.channels // num_passes)
    return -(-min(in_a_pass, _WRITING_GROUP) * shape.written.bits // 8 // _WRITTEN_AT_ONCE)


def _pooled_area(shape: LayerShape) -> int:
    if shape.layer.pool is None:
        return 1
    return shape.layer.pool * (shape.layer.pool if shape.read.columns > 1 else 1)
