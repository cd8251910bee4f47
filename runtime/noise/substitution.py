"""Forward passes in which operators read something else than the parameters themselves, tensor by tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.runtime.noise.directions import NoiseKey
from hybridsplit.runtime.noise.touched_rows import TouchedRows
from hybridsplit.scenarios.errors import ScenarioError


class Substitution(ABC):
    """Within it, every operator that reads a trainable parameter reads what stands for it along one direction.

    What stands for it lives as long as that operator, and has no gradient. Of an embedding only the rows that the batch
    touches are replaced; all other rows have no gradient. Operators that read no trainable parameter run as ever:
    within it the parameters are of a class that PyTorch asks before an operator reads them, and nothing else is. What
    PyTorch does not announce, as ``torch.tensor(parameter)``, reads the parameter itself. Of substitutions of the same
    parameter the innermost counts.

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
        self._before: list[tuple[nn.Parameter, type[nn.Parameter], Any]] = []

    def __enter__(self) -> Self:
        for name, parameter in self._parameters:
            outer = parameter.substituted if isinstance(parameter, _Substituted) else None
            original = parameter.detach() if outer is None else outer[2]
            self._before.append((parameter, type(parameter), outer))
            parameter.__class__ = _Substituted
            parameter.substituted = self, name, original  # type: ignore[attr-defined]
        return self

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

    @property
    def _names_nothing(self) -> bool:
        """Whether the pass only records rows."""
        return False

    @abstractmethod
    def _stand_in(self, parameter: Tensor, noise: Tensor) -> Tensor:
        """Return what is read instead of a parameter; the noise is fresh and may be overwritten."""

    def read(self, name: str, original: Tensor) -> Tensor:
        """Return what is read instead of a parameter, in its shape."""
        if self._names_nothing:
            return original
        return self._stand_in(original, self.key.draw(name, self.direction, original))

    def embed(self, name: str, original: Tensor, ids: Tensor, others: Any, options: Any) -> Tensor:
        """Return what is read instead of rows of a parameter: [..., D] for token ids [...].

        Parameters
        ----------
        name, original
            The embedding's name, and its table [V, D].
        ids
            The token ids.
        others, options
            Further arguments of ``torch.nn.functional.embedding``, by position and by name.

        Raises
        ------
        ScenarioError
            If other rows were read before.
        """
        padding_idx = others[0] if others else options.get("padding_idx")
        num_rows = original.shape[0]
        rows = self.rows.setdefault(name, TouchedRows.of(ids, num_rows, padding_idx))
        if not rows.are_of(ids):
            raise ScenarioError(
                f"training.modes: the trained embedding {name} is read twice in one pass, for different tokens, which "
                "zeroth-order modes cannot perturb: freeze it with trainable: lora, or leave these modes out"
            )
        result = F.embedding(ids, original, *others, **options)
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
        if func is F.embedding and type(args[1]) is cls:
            ids, weight, *others = args
            substitution, name, original = weight.substituted
            return substitution.embed(name, original, ids, others, kwargs)
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


_VIEWS = ("T", "mT", "H", "mH", "real", "imag", "data")
_READ_VALUES = frozenset(getattr(Tensor, name).__get__ for name in _VIEWS)


def _is_no_value(func: Any) -> bool:
    """Whether an attribute is asked for that does not depend on the parameter's value: shape, dtype, device, ..."""
    return getattr(func, "__name__", "") == "__get__" and func not in _READ_VALUES
