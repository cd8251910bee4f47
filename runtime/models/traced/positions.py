"""The most tokens that a model has positions for, found in its recorded forward pass.

What looks up a table of positions follows from shapes, constants and the padding mask, and is computed
here with values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hybridsplit.runtime.models.traced.program import (
    BatchSize,
    Kind,
    Placeholder,
    Program,
    Ref,
    Step,
    leaves_of,
    map_leaves,
)

_BATCH_SIZE = 2


class _UnknownError(Exception):
    """A value depends on parameters, or on tables that are not here."""


class _LookUps(TorchFunctionMode):
    """Notes what tables are asked for, as (largest row, rows), and gives zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.embedding:
            rows, table = args[0], args[1]
            self.found.append((int(rows.max()), int(table.shape[0])))
            return torch.zeros(*rows.shape, table.shape[1])
        return func(*args, **(kwargs or {}))


def missing_positions(program: Program, model: nn.Module, token: int, length: int) -> int:
    """Return by how many rows a text of full length exceeds a table of positions; 0 where all fit.

    Parameters
    ----------
    program
        The recorded forward pass of a text model.
    model
        The model, on any device; its parameters are not read.
    token
        A token that is not padding.
    length
        Tokens of the text, the length that was recorded.
    """
    tokens = torch.full((_BATCH_SIZE, length), token)
    values: dict[int, Any] = {}
    missing = 0
    for index, step in enumerate(program.steps):
        try:
            if step.kind is Kind.MODULE:
                missing = max(missing, _beyond(step, model, values))
            elif step.target is F.embedding:
                missing = max(missing, _beyond_table(step, program, model, values))
            else:
                values[index] = _value(step, values, tokens)
        except _UnknownError:
            continue
    return missing


def _value(step: Step, values: dict[int, Any], tokens: Tensor) -> Any:
    if step.kind is Kind.INPUT:
        return tokens
    if step.kind is Kind.MASK:
        return torch.ones_like(tokens, dtype=torch.bool)
    if step.kind is Kind.READ or (step.dtype is not None and step.dtype.is_floating_point):
        raise _UnknownError
    return _run(step.target, step, values)


def _beyond(step: Step, model: nn.Module, values: dict[int, Any]) -> int:
    """Rows by which a table is too short; a table of tokens, which takes the input itself, does not count."""
    module = model.get_submodule(str(step.target))
    if not isinstance(module, nn.Embedding) or _takes_input(step, module):
        return 0
    table = copy.copy(module)
    table._parameters = {"weight": nn.Parameter(torch.zeros(module.num_embeddings, 1), requires_grad=False)}
    with _LookUps() as look_ups:
        _run(table, step, values)
    return max((largest + 1 - rows for largest, rows in look_ups.found), default=0)


def _beyond_table(step: Step, program: Program, model: nn.Module, values: dict[int, Any]) -> int:
    """Rows by which a table is too short that a model looks up itself, as one of its own module classes does."""
    rows, table = step.args[:2]
    read = program.steps[table.step] if isinstance(table, Ref) else None
    if read is None or read.kind is not Kind.READ or rows == Ref(0) or not isinstance(rows, Ref):
        return 0
    if rows.step not in values:
        raise _UnknownError
    shape = dict(model.named_parameters())[str(read.target)].shape
    return max(0, int(values[rows.step].max()) + 1 - shape[0])


def _takes_input(step: Step, module: nn.Embedding) -> bool:
    # A table with a forward of its own may take the input for its shape alone.
    return type(module).forward is nn.Embedding.forward and Ref(0) in leaves_of(step.args)


def _run(function: Callable[..., Any] | str, step: Step, values: dict[int, Any]) -> Any:
    def argument(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            if leaf.step not in values:
                raise _UnknownError
            found = values[leaf.step]
            return found.clone() if isinstance(found, Tensor) else found
        if isinstance(leaf, BatchSize):
            return leaf.at(_BATCH_SIZE)
        return torch.device("cpu") if leaf is Placeholder.DEVICE else leaf

    args: Sequence[Any] = map_leaves(step.args, argument)
    kwargs = {name: map_leaves(value, argument) for name, value in step.kwargs}
    assert callable(function)
    try:
        return function(*args, **kwargs)
    except _UnknownError:
        raise
    except Exception as error:  # a step that needs what is not computed here
        raise _UnknownError from error
