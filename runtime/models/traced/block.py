"""A piece of a recorded program as a block that runs, trains and probes like a declared one."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.models.traced.program import (
    BatchSize,
    Kind,
    Placeholder,
    Program,
    Ref,
    Step,
    current,
    map_leaves,
)


@dataclass(frozen=True)
class Boundary:
    """What crosses a cut.

    Parameters
    ----------
    steps
        The steps whose values cross.
    shapes, dtypes
        Of each value.
    wire_dtype
        Type in which they cross; several values cross as one flat tensor.
    """

    steps: tuple[int, ...]
    shapes: tuple[tuple[Any, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    wire_dtype: torch.dtype

    @classmethod
    def of(cls, program: Program, steps: Sequence[int], wire_dtype: torch.dtype) -> Boundary:
        """Describe the values of some steps.

        Parameters
        ----------
        program, steps
            The recorded forward pass, and the steps whose values cross.
        wire_dtype
            Type in which several values cross.
        """
        chosen = [program.steps[step] for step in steps]
        dtypes = tuple(step.dtype for step in chosen if step.dtype is not None)
        return cls(tuple(steps), tuple(step.shape or () for step in chosen), dtypes, wire_dtype)

    def batch_size(self, x: Tensor) -> int:
        """Return the batch size of what crossed."""
        sizes = [BatchSize(_numel(shape, 1) - _numel(shape, 0), _numel(shape, 0)) for shape in self.shapes]
        slope, offset = sum(size.slope for size in sizes), sum(size.offset for size in sizes)
        return (x.numel() - offset) // slope

    def pack(self, values: Sequence[Tensor]) -> Tensor:
        """Return one tensor that holds all values, shape [E] for E elements; a single value is that tensor itself."""
        if len(values) == 1:
            return values[0]
        return torch.cat([value.reshape(-1).to(self.wire_dtype) for value in values])

    def unpack(self, x: Tensor, batch_size: int) -> list[Tensor]:
        """Undo :meth:`pack`: return the values, each in the shape it was recorded with."""
        if len(self.steps) == 1:
            return [x]
        shapes = [tuple(_at(size, batch_size) for size in shape) for shape in self.shapes]
        pieces = torch.split(x, [math.prod(shape) for shape in shapes])
        return [piece.view(shape).to(dtype) for piece, shape, dtype in zip(pieces, shapes, self.dtypes, strict=True)]


def _at(size: Any, batch_size: int) -> int:
    return size.at(batch_size) if isinstance(size, BatchSize) else int(size)


def _numel(shape: Sequence[Any], batch_size: int) -> int:
    return math.prod(_at(size, batch_size) for size in shape)


@dataclass(frozen=True)
class _Instruction:
    """A step of a block, and the values that are not needed after it."""

    index: int
    step: Step
    frees: tuple[int, ...]


class TracedBlock(Block):
    """Runs the steps between two cuts.

    Parameters
    ----------
    program
        The whole recorded forward pass.
    steps
        The steps of this block in order, those it computes anew included.
    below, above
        What comes in, and what goes out.
    model
        Gives modules, parameters and buffers by name.
    taken
        Names of buffers that earlier blocks hold: this block gets copies. Its own are added.
    """

    def __init__(
        self,
        program: Program,
        steps: Sequence[int],
        below: Boundary,
        above: Boundary,
        model: nn.Module,
        taken: set[str],
    ) -> None:
        super().__init__()
        self.below = below
        self.above = above
        self._is_padded = any(step.kind is Kind.MASK for step in program.steps)
        named = [program.steps[i] for i in steps if program.steps[i].kind in (Kind.MODULE, Kind.READ)]
        # Alike layers have names with different beginnings (``layers.3.``) and equal endings.
        self._prefix_length = _common_prefix_length([str(step.target) for step in named])
        # In a child module, names taken from the model cannot clash with attributes of the block.
        self.body = nn.Module()
        self._place(named, model, taken)
        self._instructions = _instructions(program, steps, above.steps)
        self._kind = f"Traced-{_digest(self._instructions, below, above, self._local)}"

    @property
    def kind(self) -> str:
        """Name shared by blocks that do the same."""
        return self._kind

    def _local(self, target: str) -> list[str]:
        return target.split(".")[self._prefix_length :]

    def _place(self, named: Sequence[Step], model: nn.Module, taken: set[str]) -> None:
        """Hold modules and tensors under the names they have in the model, less what all of them start with."""
        for step in sorted(named, key=lambda step: step.kind is Kind.READ):
            path = self._local(str(step.target))
            holder: nn.Module = self.body
            for part in path[:-1]:
                if part not in holder._modules:
                    holder.add_module(part, nn.Module())
                holder = holder.get_submodule(part)
            if step.kind is Kind.MODULE:
                holder._modules[path[-1]] = model.get_submodule(str(step.target))
            elif not hasattr(holder, path[-1]):
                _hold_tensor(holder, path[-1], str(step.target), model, taken)

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map what crosses the cut below to what crosses the cut above, each in the shape of :meth:`Boundary.pack`.

        Raises
        ------
        ValueError
            If a mask comes and none was recorded, or the reverse.
        """
        if (mask_BS is not None) != self._is_padded:
            found, recorded = ("a", "without") if mask_BS is not None else ("no", "with")
            raise ValueError(f"found {found} mask; this forward pass was recorded {recorded} one")
        batch_size = self.below.batch_size(x)
        values: dict[int, Any] = dict(zip(self.below.steps, self.below.unpack(x, batch_size), strict=True))
        device = x.device
        del x

        def argument(leaf: Any) -> Any:
            if isinstance(leaf, Ref):
                return values[leaf.step]
            if isinstance(leaf, BatchSize):
                return leaf.at(batch_size)
            return device if leaf is Placeholder.DEVICE else leaf

        def run(step: Step) -> Any:
            if step.kind is Kind.MASK:
                return mask_BS
            if step.kind is Kind.READ:
                return reduce(getattr, self._local(str(step.target)), self.body)
            function: Callable[..., Any]
            if step.kind is Kind.MODULE:
                function = reduce(getattr, self._local(str(step.target)), self.body)
            else:
                assert callable(step.target)
                function = current(step.target)
            args = map_leaves(step.args, argument)
            kwargs = {name: map_leaves(value, argument) for name, value in step.kwargs}
            with contextlib.nullcontext() if step.keeps_gradient else torch.no_grad():
                return function(*args, **kwargs)

        for instruction in self._instructions:
            values[instruction.index] = run(instruction.step)
            for index in instruction.frees:
                values.pop(index, None)
        return self.above.pack([values.pop(step) for step in self.above.steps])


def _hold_tensor(holder: nn.Module, name: str, target: str, model: nn.Module, taken: set[str]) -> None:
    owner_name, _, tensor_name = target.rpartition(".")
    owner = model.get_submodule(owner_name)
    tensor = getattr(owner, tensor_name)
    if isinstance(tensor, nn.Parameter):
        holder._parameters[name] = tensor
        return
    is_persistent = tensor_name not in owner._non_persistent_buffers_set
    holder.register_buffer(name, tensor.clone() if target in taken else tensor, persistent=is_persistent)
    taken.add(target)


def _common_prefix_length(names: Sequence[str]) -> int:
    """Number of leading parts that all names share; the last part of each always stays."""
    split = [name.split(".")[:-1] for name in names]
    length = 0
    while split and all(len(parts) > length and parts[length] == split[0][length] for parts in split):
        length += 1
    return length


def _instructions(program: Program, steps: Sequence[int], wanted: Sequence[int]) -> tuple[_Instruction, ...]:
    last_use: dict[int, int] = {}
    for i in steps:
        for d in (i, *program.steps[i].depends_on):
            last_use[d] = i
    frees: dict[int, list[int]] = {}
    for value, i in last_use.items():
        if value not in wanted:
            frees.setdefault(i, []).append(value)
    return tuple(
        _Instruction(i, program.steps[i], tuple(frees.get(i, ())))
        for i in steps
        if program.steps[i].kind is not Kind.INPUT
    )


def _digest(
    instructions: Sequence[_Instruction], below: Boundary, above: Boundary, local: Callable[[str], list[str]]
) -> str:
    """A short name of what a block computes, whatever its place in the model."""
    places = {step: f"in{position}" for position, step in enumerate(below.steps)}
    places |= {instruction.index: str(position) for position, instruction in enumerate(instructions)}

    def place(leaf: Any) -> Any:
        return f"value {places[leaf.step]}" if isinstance(leaf, Ref) else leaf

    lines: list[str] = []
    for instruction in instructions:
        step = instruction.step
        target = ".".join(local(step.label)) if step.kind in (Kind.MODULE, Kind.READ) else step.label
        lines.append(repr((step.kind, target, map_leaves(step.args, place), map_leaves(step.kwargs, place))))
    lines.append(repr((below.shapes, above.shapes, [places[step] for step in above.steps])))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
