"""A device beside the CPU that needs no hardware: its tensors hold CPU tensors, and meet those of the CPU never.

PyTorch lets a backend be written in Python (``_setup_privateuseone_for_python_backend``). Every operator is carried out
by the CPU, so that results are equal to the bit; an operator that is given tensors of two devices raises, as with CUDA.
Zero-dimensional tensors of the CPU may take part everywhere, as they may there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "second"


class TwoDevicesError(RuntimeError):
    """An operator was given tensors of both devices."""


class SecondTensor(Tensor):
    """A tensor of the second device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> SecondTensor:
        made: SecondTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=torch.device(NAME, 0), requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self, **kwargs: Any) -> str:
        return f"SecondTensor({self.inner!r})"

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carried_out(func, args, kwargs or {})


_MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten._foreach_copy_.default)
"""Operators that may be given tensors of both."""


def _carried_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, spec = tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    device = kwargs.get("device")
    moves = func in (
        torch.ops.aten._to_copy.default,
        torch.ops.aten.copy_.default,
        torch.ops.aten._foreach_copy_.default,
    )
    has_second = any(isinstance(value, SecondTensor) for value in tensors)
    if has_second and not moves:
        strangers = [v for v in tensors if not isinstance(v, SecondTensor) and v.dim() > 0]
        if strangers:
            raise TwoDevicesError(f"{func}: tensors of two devices")
    inner = [value.inner if isinstance(value, SecondTensor) else value for value in flat]
    plain_args, plain_kwargs = tree_unflatten(inner, spec)
    if device is not None:
        plain_kwargs["device"] = torch.device("cpu")
    out = func(*plain_args, **plain_kwargs)
    to_second = torch.device(device).type == NAME if device is not None else has_second
    if func is torch.ops.aten.copy_.default:
        to_second = isinstance(args[0], SecondTensor)
    if func is torch.ops.aten._foreach_copy_.default:
        return out
    if device is not None and to_second != has_second and tensors:
        # What crosses is a copy, also where the CPU's operator would return the tensor itself.
        return SecondTensor(out.clone()) if to_second else out.clone()
    if not to_second:
        return out
    wrapped = tree_map_only(Tensor, lambda one: one if isinstance(one, SecondTensor) else SecondTensor(one), out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


class _Factories(TorchDispatchMode):
    """Operators that make tensors on the second device without having any."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == NAME:
            return _carried_out(func, args, kwargs)
        return func(*args, **kwargs)


@cache
def _registered() -> None:
    _setup_privateuseone_for_python_backend(NAME)


@contextmanager
def second_device() -> Iterator[torch.device]:
    """Make the device known, and return it."""
    _registered()
    with _Factories():
        yield torch.device(NAME, 0)
