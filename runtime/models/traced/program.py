"""A forward pass as a list of steps, and what stands for values inside their arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Ref:
    """The value of an earlier step."""

    step: int


@dataclass(frozen=True)
class BatchSize:
    """A whole number that follows the batch size: ``slope * B + offset``."""

    slope: int
    offset: int

    def at(self, batch_size: int) -> int:
        """Return the number for a batch size."""
        return self.slope * batch_size + self.offset


class Placeholder(StrEnum):
    """Arguments that are known only when a block runs."""

    DEVICE = "device"


class Kind(StrEnum):
    """What a step does."""

    INPUT = "input"
    MASK = "mask"
    READ = "read"
    """Reads the parameter or buffer named by the target."""
    MODULE = "module"
    """Calls the module of PyTorch named by the target."""
    FUNCTION = "function"


@dataclass(frozen=True)
class Step:
    """One step of a program.

    Parameters
    ----------
    kind
        What it does.
    target
        Dotted name of a module, parameter or buffer; or the function.
    args, kwargs
        Arguments; values of earlier steps as :class:`Ref`.
    depends_on
        Steps whose results it needs, through its arguments or through memory that they have written.
    items
        Names of the members of module lists inside which it runs, outermost first: the layers of the model.
    keeps_gradient
        Whether gradients pass; not under ``torch.no_grad``.
    shape, dtype
        Of the result; None where it is not a tensor.
    rewrites
        Earlier steps whose memory it shares while it, or one of them, writes to it.
    """

    kind: Kind
    target: str | Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    depends_on: tuple[int, ...] = ()
    items: tuple[str, ...] = ()
    keeps_gradient: bool = True
    shape: tuple[Any, ...] | None = None
    dtype: torch.dtype | None = None
    rewrites: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """Short name, the same for steps that do the same."""
        return self.target if isinstance(self.target, str) else getattr(self.target, "__name__", repr(self.target))


@dataclass(frozen=True)
class Program:
    """A recorded forward pass.

    Parameters
    ----------
    steps
        In the order they ran; a step depends on earlier ones only.
    output
        The step whose result are the logits.
    parameters
        Names of what a step may read that is trained or could be; buffers are not among them.
    """

    steps: tuple[Step, ...]
    output: int
    parameters: frozenset[str]


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply a function to the leaves of nested tuples, lists, dictionaries and slices."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_leaves(item, change) for item in value))
    if isinstance(value, tuple):
        return tuple(map_leaves(item, change) for item in value)
    if isinstance(value, list):
        return [map_leaves(item, change) for item in value]
    if isinstance(value, dict):
        return {key: map_leaves(item, change) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(map_leaves(item, change) for item in (value.start, value.stop, value.step)))
    return change(value)


def leaves_of(value: Any) -> list[Any]:
    """Return the leaves that :func:`map_leaves` visits."""
    found: list[Any] = []
    map_leaves(value, found.append)
    return found


def transposed(x: Tensor) -> Tensor:
    """Swap the last two dimensions, [..., M, N] to [..., N, M], as an operator that probes can see.

    It stands for ``x.mT``, and for ``x.T`` of a matrix.
    """
    return x.transpose(-2, -1)


_FUNCTIONAL_NAMES = {
    id(function): name for name, function in vars(F).items() if callable(function) and not name.startswith("_")
}


def current(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what ``torch.nn.functional`` offers under the function's name now.

    A profiler replaces attention there by that of another device; a block must meet the replacement too.
    """
    name = _FUNCTIONAL_NAMES.get(id(function))
    found: Callable[..., Any] = function if name is None else getattr(F, name)
    return found
