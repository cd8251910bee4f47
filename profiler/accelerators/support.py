"""What an accelerator does not support, layer by layer and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hybridsplit.profiler.accelerators.data_memory import working_bytes
from hybridsplit.profiler.accelerators.kernel_memory import kernel_bytes
from hybridsplit.profiler.accelerators.shapes import LayerShape
from hybridsplit.scenarios.inference.accelerators import Accelerator
from hybridsplit.scenarios.inference.layers import LayerList
from hybridsplit.scenarios.units import format_bytes

_ACTIVATIONS = ("relu", "abs", "none")
_MOST_PAD = 2
_LONGEST_CONV1D = 9
_LONGEST_DILATED_CONV1D = 3
_MOST_POOL = 16
_MOST_OPERANDS = 16


def unsupported_layers(
    network: LayerList, shapes: Sequence[LayerShape], accelerator: Accelerator
) -> dict[int, list[str]]:
    """Return what an accelerator does not support of a network.

    Parameters
    ----------
    network
        The list.
    shapes
        The shapes of its layers.
    accelerator
        What it is to run on.

    Returns
    -------
    dict of int to list of str
        By position of the layer, each limit that it breaks: what was found and what is needed. Layers that an
        accelerator supports are absent.
    """
    held = working_bytes(network, shapes, accelerator)
    found: dict[int, list[str]] = {}
    for position, shape in enumerate(shapes):
        faults = [*_operation(shape, accelerator), *_extents(shape, accelerator)]
        if size := max(0, kernel_bytes(shape, accelerator) - accelerator.kernel_bytes_per_processor):
            faults.append(
                f"kernels take {kernel_bytes(shape, accelerator):,} B of a processor, {size:,} B more than it has"
            )
        if not faults and held[position] > accelerator.data_bytes_per_instance:
            faults.append(
                f"inputs and outputs take {format_bytes(held[position])} of an instance of data memory; needs at most "
                f"{format_bytes(accelerator.data_bytes_per_instance)}"
            )
        if faults:
            found[position] = faults
    streamed = [position for position, shape in enumerate(shapes) if shape.layer.streams]
    for position in streamed:
        if position >= accelerator.most_streamed_layers:
            found.setdefault(position, []).append(
                f"streams as layer {position + 1}; only the first {accelerator.most_streamed_layers} may"
            )
    return found


def _operation(shape: LayerShape, accelerator: Accelerator) -> Iterator[str]:
    layer = shape.layer
    if layer.activation not in _ACTIVATIONS:
        yield f"activation {layer.activation}; needs one of {', '.join(_ACTIVATIONS)}"
    if layer.op != "pass" and layer.weight_bits not in accelerator.weight_bits:
        yield f"weights of {layer.weight_bits} bits; needs one of {', '.join(map(str, accelerator.weight_bits))}"
    if layer.pad > _MOST_PAD:
        yield f"padding {layer.pad}; needs at most {_MOST_PAD}"
    if layer.pool is not None and max(layer.pool, layer.pool_stride or 1) > _MOST_POOL:
        yield f"pooling of {layer.pool} with stride {layer.pool_stride or layer.pool}; needs at most {_MOST_POOL}"
    if len(shape.operands) > _MOST_OPERANDS:
        yield f"{len(shape.operands)} inputs; needs at most {_MOST_OPERANDS}"
    if layer.join == "concat" and any(one.channels % 4 for one in shape.operands[:-1]):
        yield "concatenates inputs of a number of channels that is no multiple of 4"
    if layer.groups not in (1, shape.pooled.channels) or (layer.groups > 1 and layer.out != layer.groups):
        yield f"{layer.groups} groups; needs 1{' or as many as channels' if accelerator.depthwise else ''}"
    elif layer.groups > 1 and not accelerator.depthwise:
        yield f"{layer.groups} groups; needs 1"
    match layer.op:
        case "conv2d":
            if layer.kernel not in (1, 3):
                yield f"kernel {layer.kernel} x {layer.kernel}; needs 1 x 1 or 3 x 3"
            if layer.stride != 1:
                yield f"stride {layer.stride}; needs 1: pool instead"
            if layer.dilation > accelerator.most_dilation:
                yield f"dilation {layer.dilation}; needs at most {accelerator.most_dilation}"
        case "conv1d":
            if layer.kernel > _LONGEST_CONV1D:
                yield f"kernel of length {layer.kernel}; needs at most {_LONGEST_CONV1D}"
            if layer.stride != 1:
                yield f"stride {layer.stride}; needs 1: pool instead"
            longest = accelerator.most_extent if layer.kernel <= _LONGEST_DILATED_CONV1D else 1
            if layer.dilation > longest:
                yield f"dilation {layer.dilation}; needs at most {longest} at kernel length {layer.kernel}"
            widest = accelerator.widest_padded_conv1d
            if widest is not None and layer.pad and shape.pooled.channels > widest:
                yield f"padding with {shape.pooled.channels} input channels; needs at most {widest}, or no padding"
        case "conv-transpose2d":
            if layer.kernel != 3 or layer.stride != 2:
                yield f"kernel {layer.kernel} with stride {layer.stride}; needs kernel 3 x 3 with stride 2"
        case "linear":
            pixels = shape.pooled.rows * shape.pooled.columns
            if pixels > accelerator.most_flattened_pixels:
                yield f"flattens {pixels} pixels a channel; needs at most {accelerator.most_flattened_pixels}"
            values = pixels * shape.pooled.channels
            if values > accelerator.most_flattened:
                yield f"flattens {values:,} values; needs at most {accelerator.most_flattened:,}"


def _extents(shape: LayerShape, accelerator: Accelerator) -> Iterator[str]:
    for what, tensor in (("reads", shape.read), ("writes", shape.written)):
        if tensor.channels > accelerator.most_channels:
            yield f"{what} {tensor.channels} channels; needs at most {accelerator.most_channels}"
        if max(tensor.rows, tensor.columns) > accelerator.most_extent:
            yield f"{what} {tensor.rows} x {tensor.columns}; needs at most {accelerator.most_extent} rows and columns"
        # One channel must lie in one instance, four to a word.
        pixels = accelerator.data_bytes_per_instance // accelerator.processors_per_instance
        if tensor.rows * tensor.columns > pixels and not shape.layer.streams:
            yield f"{what} {tensor.rows * tensor.columns:,} pixels a channel; needs at most {pixels:,}, or streaming"
    bias = shape.written.channels if shape.layer.bias else 0
    if accelerator.most_bias_outputs is not None and bias > accelerator.most_bias_outputs:
        yield f"{bias} outputs with biases; needs at most {accelerator.most_bias_outputs}"
    if bias > accelerator.bias_bytes:
        yield f"{bias} B of biases; needs at most {accelerator.bias_bytes}"
