"""What lies in data memory while layers run, a byte a pixel and four channels a word, as the hardware arranges it."""

from __future__ import annotations

from collections.abc import Sequence

from hybridsplit.profiler.accelerators.kernel_memory import passes
from hybridsplit.profiler.accelerators.shapes import LayerShape, Tensor
from hybridsplit.scenarios.inference.accelerators import Accelerator
from hybridsplit.scenarios.inference.layers import LayerList


def instance_bytes(tensor: Tensor, accelerator: Accelerator) -> int:
    """Return the bytes that a tensor takes of one instance of data memory.

    Parameters
    ----------
    tensor
        The tensor.
    accelerator
        Where it lies.
    """
    words = tensor.rows * tensor.columns * passes(tensor.channels, accelerator)
    return words * accelerator.processors_per_instance * tensor.bits // 8


def last_reads(network: LayerList) -> list[int]:
    """Return for the input of a network and the output of every layer the last layer that reads it.

    Parameters
    ----------
    network
        The list. The output of its last layer counts as read after it.
    """
    last = [0] * (len(network.layers) + 1)
    for position in range(len(network.layers)):
        for index in network.inputs_of(position):
            last[index + 1] = position
    last[-1] = len(network.layers)
    return last


def crossing(network: LayerList) -> list[list[int]]:
    """Return for every place between layers what crosses it: positions of tensors that exist before and are read after.

    Parameters
    ----------
    network
        The list.

    Returns
    -------
    list of list of int
        For each of the L + 1 places, positions of tensors; 0 is the input, i + 1 the output of layer i.
    """
    last = last_reads(network)
    places = [[tensor for tensor in range(place + 1) if last[tensor] >= place] for place in range(len(network.layers))]
    return [*places, [len(network.layers)]]


def working_bytes(network: LayerList, shapes: Sequence[LayerShape], accelerator: Accelerator) -> list[int]:
    """Return what lies in an instance while each layer runs: inputs, output, and what later layers read.

    Parameters
    ----------
    network
        The list.
    shapes
        The shapes of its layers.
    accelerator
        What they run on.

    Returns
    -------
    list of int
        Bytes of the instance that is filled most, by layer. A layer that streams counts with all of its input.
    """
    tensors = tensors_of(network, shapes)
    held = []
    for position, waiting in enumerate(crossing(network)[:-1]):
        live = [tensors[index] for index in waiting]
        written = shapes[position].written
        first = network.inputs_of(position)[0] + 1
        if shapes[position].layer.writes_over_input and first in waiting:
            replaced = live.pop(waiting.index(first))
            written = max(
                replaced, written, key=lambda one: instance_bytes(one, accelerator) * _width(one, accelerator)
            )
        held.append(_height([*live, written], accelerator))
    return held


def tensors_of(network: LayerList, shapes: Sequence[LayerShape]) -> list[Tensor]:
    """Return the input of a network and the outputs of its layers.

    Parameters
    ----------
    network
        The list.
    shapes
        The shapes of its layers.
    """
    channels, rows, *columns = network.input
    return [Tensor(channels, rows, columns[0] if columns else 1), *(shape.written for shape in shapes)]


def _width(tensor: Tensor, accelerator: Accelerator) -> int:
    """Return how many instances a tensor lies in."""
    in_a_pass = -(-tensor.channels // passes(tensor.channels, accelerator))
    return -(-in_a_pass // accelerator.processors_per_instance)


def _height(tensors: Sequence[Tensor], accelerator: Accelerator) -> int:
    """Return the fullest instance where each tensor, the highest first, goes to the instances that are filled least."""
    filled = [0] * accelerator.instances
    highest_first = sorted(tensors, key=lambda one: (-instance_bytes(one, accelerator), -_width(one, accelerator)))
    for tensor in highest_first:
        used = sorted(range(len(filled)), key=lambda instance: filled[instance])[: _width(tensor, accelerator)]
        end = filled[used[-1]] + instance_bytes(tensor, accelerator)
        for instance in used:
            filled[instance] = end
    return max(filled)
