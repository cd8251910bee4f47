"""Forward passes in which operators read something else than the parameters themselves, tensor by tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Substitution(ABC):
    """Within it, every operator that reads a trainable parameter reads what stands for it.

    What stands for it lives as long as that operator. Operators that read no trainable parameter run as ever: within it
    the parameters are of a class that PyTorch asks before an operator reads them, and nothing else is. What PyTorch
    does not announce, as ``torch.tensor(parameter)``, reads the parameter itself. Of substitutions of the same
    parameter the innermost counts.

    Parameters
    ----------
    parameters
        Trainable parameters by name.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        self._parameters = list(parameters)
        self._before: list[tuple[nn.Parameter, type[nn.Parameter], Any]] = []

    def __enter__(self) -> Self:
        for name, parameter in self._parameters:
            outer = parameter.substituted if isinstance(parameter, _Substituted) else None
            self._before.append((parameter, type(parameter), outer))
            original = self._original(parameter, outer)
            parameter.__class__ = _Substituted
            parameter.substituted = self, name, original  # type: ignore[attr-defined]
        return self

    @abstractmethod
    def _original(self, parameter: nn.Parameter, outer: tuple[Substitution, str, Any] | None) -> Any:
        """Return what :meth:`read` starts from, given what an outer substitution of the parameter has."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Backwards, since a parameter may have been given twice.
        while self._before:
            parameter, was, outer = self._before.pop()
            parameter.__class__ = was
            if outer is None:
                del parameter.substituted  # type: ignore[attr-defined]
            else:
                parameter.substituted = outer  # type: ignore[attr-defined]

    def dtype_of(self, original: Any) -> torch.dtype | None:
        """Precision in which a parameter is read; None for its own."""
        return None

    @abstractmethod
    def read(self, name: str, original: Any) -> Tensor:
        """Return what is read instead of a parameter, in its shape."""

    @abstractmethod
    def embed(self, name: str, original: Any, ids: Tensor, others: Any, options: Any) -> Tensor:
        """Return what is read instead of rows of a parameter: [..., D] for token ids [...].

        Parameters
        ----------
        name, original
            The embedding's name, and its table [V, D].
        ids
            The token ids.
        others, options
            Further arguments of ``torch.nn.functional.embedding``, by position and by name.
        """


class _Substituted(nn.Parameter):
    """A parameter inside a substitution."""

    substituted: tuple[Substitution, str, Any]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.embedding and type(args[1]) is cls:
            ids, weight, *others = args
            substitution, name, original = weight.substituted
            return substitution.embed(name, original, ids, others, kwargs)
        if func == _READ_DTYPE and type(args[0]) is cls:
            substitution, _, original = args[0].substituted
            if (dtype := substitution.dtype_of(original)) is not None:
                return dtype
        if _is_no_value(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        return func(*map(_replaced, args), **{key: _replaced(value) for key, value in kwargs.items()})


def _replaced(value: Any) -> Any:
    if type(value) is _Substituted:
        substitution, name, original = value.substituted
        return substitution.read(name, original)
    if type(value) is tuple or type(value) is list:
        return type(value)(_replaced(item) for item in value)
    return value


_READ_DTYPE = Tensor.dtype.__get__  # type: ignore[attr-defined]
_VIEWS = ("T", "mT", "H", "mH", "real", "imag", "data")
_READ_VALUES = frozenset(getattr(Tensor, name).__get__ for name in _VIEWS)


def _is_no_value(func: Any) -> bool:
    """Whether an attribute is asked for that does not depend on the parameter's value: shape, dtype, device, ..."""
    return getattr(func, "__name__", "") == "__get__" and func not in _READ_VALUES


def substitution_of(parameter: nn.Parameter) -> Substitution | None:
    """Return the innermost substitution that a parameter is read through; None where it is read itself."""
    return parameter.substituted[0] if isinstance(parameter, _Substituted) else None
