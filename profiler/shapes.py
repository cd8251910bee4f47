"""Compute with shapes alone: tensors on the meta device, with the kernels of the device that is meant.

The meta device runs the operators of a model without memory or arithmetic, autograd included. Three things are added:
operators seen before are not worked out again (many of PyTorch's shape functions are Python and take a tenth of a
millisecond); attention follows the device that is meant, not the meta device; and generators and host reads of the
code that is traced, which belong to another device, do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridsplit.profiler.kernels import Kernels, as_on_device
from hybridsplit.runtime.split.dispatch import PlainDispatch

_META = torch.device("meta")
_RUN_IT = "run it"
_IS_OUT = "is what it is written into"
_ON_META: dict[str, Callable[[Any], Any]] = {
    "generator": lambda _: None,
    "device": lambda device: None if device is None else _META,
}


@dataclass
class ShapeMemo:
    """Results of operators by their arguments, both as shapes."""

    known: dict[Hashable, Any] = field(default_factory=dict)


class _OnMeta(PlainDispatch):
    """Sends every new tensor to the meta device, reads zeros from there, and remembers the shapes of results."""

    def __init__(self, kernels: Kernels, memo: ShapeMemo) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kernels = kernels
        self._known = memo.known

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return as_on_device(func, args, self._run(func, args, kwargs or {}), self._kernels)

    def _run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if func.is_view or func is torch.ops.aten._efficientzerotensor.default or func.namespace == "profiler":
            # The tangent of a number in forward mode must stay where numbers are; records of a profiler have no shape.
            return func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return torch.zeros((), dtype=args[0].dtype, device="cpu").tolist()
        if kwargs:
            # A generator of the host cannot drive the meta device, where nothing is drawn.
            kwargs = {name: _ON_META.get(name, lambda value: value)(value) for name, value in kwargs.items()}
        if func._schema.is_mutable:
            if _keeps_shape(func, args):
                return args[0]
            return self._into_out(func, args, kwargs) if kwargs and "out" in kwargs else func(*args, **kwargs)
        key = _key(func, args, kwargs)
        found: Any = self._known.get(key) if key is not None else _RUN_IT
        if found is None:
            result = func(*args, **kwargs)
            self._known[key] = _shapes_of(result, args)
            return result
        if found is _RUN_IT:
            return func(*args, **kwargs)
        made = [
            None if shape is None else torch.empty_strided(*shape[:2], dtype=shape[2], device=_META)
            for shape in found[1]
        ]
        return made[0] if found[0] is None else found[0](made)

    def _into_out(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run an operator that writes into ``out``; where it is known to leave the shape, there is nothing to do."""
        out, key = kwargs["out"], _key(func, args, kwargs)
        if key is not None and self._known.get(key) is _IS_OUT:
            return out
        before = _key_part(out)
        result = func(*args, **kwargs)
        if key is not None and result is out and before is not None and _key_part(out) == before:
            self._known[key] = _IS_OUT
        return result


def _keeps_shape(func: Any, args: Sequence[Any]) -> bool:
    """Whether an operator only writes into its first argument and returns it: nothing to do without values."""
    returns = func._schema.returns
    return (
        torch.Tag.inplace_view not in func.tags
        and len(returns) == 1
        and returns[0].alias_info is not None
        and func._schema.arguments[0].is_write
        and isinstance(args[0], Tensor)
        and args[0].is_meta
    )


def _key(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Hashable | None:
    """What a result's shapes depend on; None where tensors of the host take part."""
    parts: list[Hashable] = [func, torch.get_default_dtype()]
    for value in args:
        part = _key_part(value)
        if part is None:
            return None
        parts.append(part)
    for name, value in kwargs.items():
        part = _key_part(value)
        if part is None:
            return None
        parts.append((name, part))
    return tuple(parts)


def _key_part(value: Any) -> Hashable | None:
    if isinstance(value, Tensor):
        return (value.shape, value.stride(), value.dtype) if value.is_meta else None
    if isinstance(value, (list, tuple)):
        inner = tuple(_key_part(item) for item in value)
        return None if any(item is None for item in inner) else (type(value), inner)
    # 1, 1.0 and True are equal, and give results of different types.
    return type(value), value


def _shapes_of(result: Any, args: Sequence[Any]) -> Any:
    """Shapes of fresh results with the container that holds them, or a mark that the operator must run."""
    leaves = list(result) if isinstance(result, (list, tuple)) else [result]
    if not all(leaf is None or (isinstance(leaf, Tensor) and leaf.is_meta) for leaf in leaves):
        return _RUN_IT
    inputs = {id(a.untyped_storage()) for a in args if isinstance(a, Tensor)}
    if any(leaf is not None and (id(leaf.untyped_storage()) in inputs or leaf.storage_offset()) for leaf in leaves):
        return _RUN_IT
    shapes = [None if leaf is None else (leaf.shape, leaf.stride(), leaf.dtype) for leaf in leaves]
    return type(result) if isinstance(result, (list, tuple)) else None, shapes


@contextmanager
def shapes_only(kernels: Kernels, memo: ShapeMemo | None = None) -> Iterator[None]:
    """Within it, new tensors are shapes, and operators keep what the given kernels keep.

    Parameters
    ----------
    kernels
        Their attention stands in for ``torch.nn.functional.scaled_dot_product_attention``, whose own choice follows the
        device of its tensors and would be the meta device's.
    memo
        Shapes known from before, and to be added to.
    """
    mode = _OnMeta(kernels, ShapeMemo() if memo is None else memo)
    with mock.patch.object(F, "scaled_dot_product_attention", kernels.attention), mode:
        yield
