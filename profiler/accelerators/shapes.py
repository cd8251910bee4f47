"""Shapes of every layer of a list: channels, rows and columns before and after pooling, and of what is written."""

from __future__ import annotations

from dataclasses import dataclass

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.inference.layers import Layer, LayerList


@dataclass(frozen=True)
class Tensor:
    """What a layer reads or writes. Data of one dimension are rows of one column.

    Parameters
    ----------
    channels, rows, columns
        Its shape.
    bits
        Width of a value.
    """

    channels: int
    rows: int
    columns: int
    bits: int = 8

    @property
    def num_bytes(self) -> int:
        """Size as it crosses a bus or a link."""
        return self.channels * self.rows * self.columns * self.bits // 8


@dataclass(frozen=True)
class LayerShape:
    """One layer with all its shapes.

    Parameters
    ----------
    name
        Its name.
    layer
        What the list states of it.
    operands
        What it reads, in order.
    read
        The operands as one, before pooling: added or concatenated.
    pooled
        After pooling.
    written
        Its output.
    kernel_rows, kernel_columns, pad_rows, pad_columns
        Of its kernel.
    """

    name: str
    layer: Layer
    operands: tuple[Tensor, ...]
    read: Tensor
    pooled: Tensor
    written: Tensor
    kernel_rows: int
    kernel_columns: int
    pad_rows: int
    pad_columns: int

    @property
    def elements(self) -> int:
        """Operands of the element-wise operation; 1 where there is none."""
        return len(self.operands) if self.layer.join == "add" else 1

    @property
    def num_weights(self) -> int:
        """Weights of the kernel."""
        if self.layer.op == "pass":
            return 0
        inputs = self.pooled.channels // self.layer.groups
        flattened = self.pooled.rows * self.pooled.columns if self.layer.op == "linear" else 1
        return inputs * self.written.channels * self.kernel_rows * self.kernel_columns * flattened


def layer_shapes(network: LayerList) -> tuple[LayerShape, ...]:
    """Return the shapes of all layers.

    Parameters
    ----------
    network
        The list.

    Raises
    ------
    ScenarioError
        If the shapes do not go together; the message names the layer.
    """
    channels, rows, *columns = network.input
    tensors = [Tensor(channels, rows, columns[0] if columns else 1)]
    shapes = []
    for position, layer in enumerate(network.layers):
        where = f"model {network.model}: layer {network.name_of(position)}"
        operands = tuple(tensors[index + 1] for index in network.inputs_of(position))
        shape = _shape(network.name_of(position), layer, operands, where)
        shapes.append(shape)
        tensors.append(shape.written)
    return tuple(shapes)


def _shape(name: str, layer: Layer, operands: tuple[Tensor, ...], where: str) -> LayerShape:
    read = _joined(layer, operands, where)
    is_1d = layer.op == "conv1d"
    if is_1d and read.columns != 1:
        raise ScenarioError(f"{where}: conv1d reads {read.rows} x {read.columns}; needs data of one dimension")
    pooled = _pooled(layer, read, where)
    if pooled.channels % layer.groups or (layer.out or pooled.channels) % layer.groups:
        raise ScenarioError(
            f"{where}: groups: found {layer.groups}; needs a divisor of {pooled.channels} inputs and {layer.out} "
            "outputs"
        )
    if layer.op == "pass":
        return LayerShape(name, layer, operands, read, pooled, pooled, 1, 1, 0, 0)
    assert layer.out is not None
    flat = pooled.columns == 1 and is_1d
    kernel = (layer.kernel, 1 if flat else layer.kernel)
    pads = (layer.pad, 0 if flat else layer.pad)
    if layer.op == "linear":
        kernel, pads = (1, 1), (0, 0)
        written = Tensor(layer.out, 1, 1, layer.output_bits)
    elif layer.op == "conv-transpose2d":
        written = Tensor(layer.out, 2 * pooled.rows, 2 * pooled.columns, layer.output_bits)
    else:
        extents = [
            (extent + 2 * pad - layer.dilation * (size - 1) - 1) // layer.stride + 1
            for extent, pad, size in zip((pooled.rows, pooled.columns), pads, kernel, strict=True)
        ]
        if min(extents) < 1:
            raise ScenarioError(
                f"{where}: kernel {layer.kernel} with padding {layer.pad} is larger than its input of "
                f"{pooled.rows} x {pooled.columns}"
            )
        written = Tensor(layer.out, extents[0], extents[1], layer.output_bits)
    return LayerShape(name, layer, operands, read, pooled, written, *kernel, *pads)


def _joined(layer: Layer, operands: tuple[Tensor, ...], where: str) -> Tensor:
    first = operands[0]
    if any(one.bits != 8 for one in operands):
        raise ScenarioError(f"{where}: reads a layer of output_bits 32; an accelerator reads values of 8 bits")
    if layer.join == "add":
        if any(one != first for one in operands):
            raise ScenarioError(f"{where}: adds {_sizes(operands)}; needs inputs of one shape")
        return first
    if any((one.rows, one.columns) != (first.rows, first.columns) for one in operands):
        raise ScenarioError(f"{where}: concatenates {_sizes(operands)}; needs as many rows and columns of each")
    return Tensor(sum(one.channels for one in operands), first.rows, first.columns)


def _pooled(layer: Layer, read: Tensor, where: str) -> Tensor:
    if layer.pool is None:
        return read
    stride = layer.pool_stride or layer.pool
    rows = (read.rows - layer.pool) // stride + 1
    columns = 1 if read.columns == 1 else (read.columns - layer.pool) // stride + 1
    if rows < 1 or columns < 1:
        raise ScenarioError(f"{where}: pool {layer.pool} is larger than its input of {read.rows} x {read.columns}")
    return Tensor(read.channels, rows, columns)


def _sizes(operands: tuple[Tensor, ...]) -> str:
    return " and ".join(f"{one.channels} x {one.rows} x {one.columns}" for one in operands)
