"""Layer lists: the shapes of a network, as an accelerator runs it. Facts only, no weights."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hybridsplit.scenarios.sections.base import Identifier, Section

INPUT = "input"
"""Name of the network's own input among the inputs of a layer."""

Extent = Annotated[int, Field(ge=1, le=65_536)]
MOST_LAYERS = 512
"""Layers of one list."""


class Layer(Section):
    """One layer: pooling, an element-wise operation or concatenation of its inputs, then its operation."""

    name: Identifier | None = None
    """Name, by which other layers name it as an input; ``l`` and its position when absent."""
    op: Literal["conv2d", "conv1d", "conv-transpose2d", "linear", "pass"]
    """Operation; ``pass`` writes its inputs, pooled and joined as stated. A linear layer flattens what it reads."""
    out: Extent | None = None
    """Output channels; those of the input for ``pass``."""
    kernel: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Rows and columns of the kernel, or its length."""
    pad: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Zeros on each side."""
    stride: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Stride of the convolution; 2 for ``conv-transpose2d``."""
    dilation: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Dilation of the kernel."""
    groups: Extent = 1
    """Groups of the convolution."""
    pool: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Extent of the pooling before the operation; none when absent."""
    pool_stride: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Stride of the pooling; its extent when absent."""
    pool_kind: Literal["max", "average"] = "max"
    """What is taken of the values that are pooled."""
    inputs: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=16)] | None = None
    """Layers whose outputs are read, or ``input``; the layer before when absent."""
    join: Literal["add", "concat"] | None = None
    """How several inputs become one."""
    joins_before_pooling: bool = False
    """Whether inputs are added before they are pooled."""
    bias: bool = False
    """Whether every output channel has a bias."""
    weight_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Width of a weight."""
    output_bits: Literal[8, 32] = 8
    """Width of a value that is written; 32 only where nothing on an accelerator reads it."""
    activation: str = "relu"
    """Activation; ``relu``, ``abs`` and ``none`` are those an accelerator has."""
    writes_over_input: bool = False
    """Whether the output takes the place of the first input, as the published layout of the network has it."""
    streams: bool = False
    """Whether the layer reads its input while it is still being written."""

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        if self.op == "pass":
            if self.out is not None or self.kernel != 1 or self.pad or self.groups != 1:
                raise ValueError("op: pass has no kernel, so the keys out, kernel, pad and groups do not belong to it")
        elif self.out is None:
            raise ValueError(f"out: is needed for {self.op}; add the number of output channels")
        if (self.join is None) != (self.inputs is None or len(self.inputs) == 1):
            raise ValueError("join: is needed exactly where a layer has several inputs; needs 'add' or 'concat'")
        if self.pool is None and self.pool_stride is not None:
            raise ValueError("pool_stride: belongs to pool; add that as well, or remove the key")
        if self.joins_before_pooling and (self.join != "add" or self.pool is None):
            raise ValueError("joins_before_pooling: belongs to a layer that adds and pools; remove the key")
        if self.op == "linear" and self.pool is not None:
            raise ValueError("pool: cannot be used in a layer that flattens; pool in a layer of its own before it")
        return self


class LayerList(Section):
    """A network as a list of layers, in the order in which they run."""

    model: Identifier
    """Name of the network."""
    source: str = ""
    """Where the shapes come from."""
    input: Annotated[tuple[Extent, ...], Field(min_length=2, max_length=3)]
    """Channels and length, or channels, rows and columns."""
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=MOST_LAYERS)]
    """The layers."""

    @model_validator(mode="after")
    def _inputs_exist(self) -> Self:
        known = [INPUT]
        for position, layer in enumerate(self.layers):
            for name in layer.inputs or ():
                if name not in known:
                    raise ValueError(
                        f"layers.{position}.inputs: found {name!r}; needs 'input' or the name of an earlier layer"
                    )
            name = self.name_of(position)
            if name in known:
                raise ValueError(f"layers.{position}.name: found {name!r} for a second time; each needs its own")
            known.append(name)
        return self

    def name_of(self, position: int) -> str:
        """Return the name of a layer."""
        return self.layers[position].name or f"l{position}"

    def inputs_of(self, position: int) -> tuple[int, ...]:
        """Return the positions of the layers that a layer reads; -1 is the input of the network."""
        named = self.layers[position].inputs
        if named is None:
            return (position - 1,)
        positions = {INPUT: -1} | {self.name_of(index): index for index in range(position)}
        return tuple(positions[name] for name in named)
