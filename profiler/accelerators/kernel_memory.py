"""Where kernels lie in the memories of processors, and whether they fit.

A layer of C inputs and K outputs makes ``ceil(C / processors)`` passes and takes as many bytes of each processor it
uses as passes, outputs and kernel elements make, at the same address of all of them; which processors those are is
free in groups that share an instance of data memory. The placement here puts layer after layer on the groups that are
filled least. Parts of several models are stacked on top of each other, so that what a device holds fits if the heights
of its parts add up to no more than the memory of a processor. That is sufficient; a cleverer placement may fit more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hybridsplit.profiler.accelerators.shapes import LayerShape
from hybridsplit.scenarios.inference.accelerators import Accelerator


def passes(channels: int, accelerator: Accelerator) -> int:
    """Return how often processors go over the input of a layer.

    Parameters
    ----------
    channels
        Input channels.
    accelerator
        What the layer runs on.
    """
    return -(-channels // accelerator.processors)


def kernel_bytes(shape: LayerShape, accelerator: Accelerator) -> int:
    """Return the bytes that a layer takes of the memory of every processor it uses.

    Parameters
    ----------
    shape
        The layer.
    accelerator
        What it runs on.
    """
    if shape.layer.op == "pass":
        return 0
    outputs = shape.written.channels if shape.layer.groups == 1 else shape.written.channels // shape.layer.groups
    elements = shape.kernel_rows * shape.kernel_columns
    if shape.layer.op == "linear":
        elements = shape.pooled.rows * shape.pooled.columns
    values = passes(shape.pooled.channels, accelerator) * outputs * elements
    return math.ceil(values * shape.layer.weight_bits / 8)


def groups_used(shape: LayerShape, accelerator: Accelerator) -> int:
    """Return how many groups of processors a layer uses.

    Parameters
    ----------
    shape
        The layer.
    accelerator
        What it runs on.
    """
    in_a_pass = -(-shape.pooled.channels // passes(shape.pooled.channels, accelerator))
    return -(-in_a_pass // accelerator.processors_per_instance)


def part_heights(shapes: Sequence[LayerShape], accelerator: Accelerator) -> list[int]:
    """Return the bytes of a processor's memory that the first 1, 2, ... layers of a sequence take.

    Parameters
    ----------
    shapes
        The layers of a part and those after it.
    accelerator
        What they run on.
    """
    filled = [0] * accelerator.instances
    heights, highest = [], 0
    for shape in shapes:
        if size := kernel_bytes(shape, accelerator):
            # The groups filled least, all at the address where the fullest of them ends.
            used = sorted(range(len(filled)), key=lambda group: (filled[group], group))
            used = used[: groups_used(shape, accelerator)]
            end = filled[used[-1]] + size
            for group in used:
                filled[group] = end
            highest = max(highest, end)
        heights.append(highest)
    return heights
