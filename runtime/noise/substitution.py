"""Forward passes in which operators read something else than the parameters themselves, tensor by tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.noise.directions import NoiseKey
from runtime.noise.rows import TouchedRows


class Substitution(ABC):
    """Within it, every operator that reads a trainable parameter reads what stands for it along one direction.

    What stands for it lives as long as that operator. Of an embedding only the rows that the batch touches are
    replaced; all other rows have no gradient. Operators that read no trainable parameter run as ever: within it the
    parameters are of a class that PyTorch asks before an operator reads them, and nothing else is.

    Parameters
    ----------
    parameters
        Trainable parameters by name.
    key, direction
        Which directions.

    Attributes
    ----------
    rows
        Touched rows of the embeddings that were read.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], key: NoiseKey, direction: int) -> None:
        self.key = key
        self.direction = direction
        self.rows: dict[str, TouchedRows] = {}
        self._parameters = list(parameters)

    def __enter__(self) -> Self:
        for name, parameter in self._parameters:
            original = parameter.detach()
            parameter.__class__ = _Substituted
            parameter.substituted = self, name, original  # type: ignore[attr-defined]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for _, parameter in self._parameters:
            parameter.__class__ = nn.Parameter
            del parameter.substituted  # type: ignore[attr-defined]

    def read(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator that reads parameters."""
        if func is F.embedding and type(args[1]) is _Substituted:
            return self._embedding(args, kwargs)
        if self._names_nothing or _is_no_value(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        return func(*map(self._replace, args), **{k: self._replace(v) for k, v in kwargs.items()})

    @property
    def _names_nothing(self) -> bool:
        """Whether the pass only records rows."""
        return False

    @abstractmethod
    def _stand_in(self, parameter: Tensor, noise: Tensor) -> Tensor:
        """Return what is read instead of a parameter; the noise is fresh and may be overwritten."""

    def _replace(self, value: Any) -> Any:
        if type(value) is _Substituted:
            _, name, original = value.substituted
            return self._stand_in(original, self.key.draw(name, self.direction, original))
        if type(value) is tuple or type(value) is list:
            return type(value)(self._replace(item) for item in value)
        return value

    def _embedding(self, args: Any, kwargs: Any) -> Tensor:
        ids, weight, *others = args
        _, name, original = weight.substituted
        padding_idx = others[0] if others else kwargs.get("padding_idx")
        rows = self.rows.setdefault(name, TouchedRows.of(ids, original.shape[0], padding_idx))
        result = F.embedding(ids, original, *others, **kwargs)
        if self._names_nothing:
            return result
        noise_ND = rows.of_tokens(self.key.draw(name, self.direction, original, rows))
        return self._stand_in(result, noise_ND.view_as(result))


class _Substituted(nn.Parameter):
    """A parameter inside a substitution."""

    substituted: tuple[Substitution, str, Tensor]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        substitution = next(leaf for leaf in _leaves(args, kwargs) if type(leaf) is cls).substituted[0]
        return substitution.read(func, args, kwargs)


_VIEWS = ("T", "mT", "H", "mH", "real", "data")
_READ_VALUES = frozenset(getattr(Tensor, name).__get__ for name in _VIEWS)


def _is_no_value(func: Any) -> bool:
    """Whether an attribute is asked for that does not depend on the parameter's value: shape, dtype, device, ..."""
    return getattr(func, "__name__", "") == "__get__" and func not in _READ_VALUES


def _leaves(args: Iterable[Any], kwargs: dict[str, Any]) -> Iterator[Any]:
    for value in (*args, *kwargs.values()):
        if type(value) is tuple or type(value) is list:
            yield from value
        else:
            yield value
