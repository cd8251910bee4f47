"""Forward passes in which operators read something else than the parameters themselves, tensor by tensor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from runtime.noise.directions import NoiseKey, TouchedRows


class Substitution(TorchFunctionMode):
    """Within it, every operator that reads a trainable parameter reads what stands for it along one direction.

    What stands for it lives as long as that operator. Of an embedding only the rows that the batch touches are
    replaced; all other rows have no gradient.

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
        super().__init__()
        self.key = key
        self.direction = direction
        self.rows: dict[str, TouchedRows] = {}
        self._parameters = list(parameters)
        self._names = {id(parameter): name for name, parameter in self._parameters}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        if func is F.embedding and id(args[1]) in self._names:
            return self._embedding(args, kwargs)
        if self._names_nothing:
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
        # By identity, which the parameters hold on to: the check of a type is slow where there are many operators.
        name = self._names.get(id(value))
        if name is not None:
            return self._stand_in(value.detach(), self.key.draw(name, self.direction, value))
        if type(value) is tuple or type(value) is list:
            return type(value)(self._replace(item) for item in value)
        return value

    def _embedding(self, args: Any, kwargs: Any) -> Tensor:
        ids, weight = args[0], args[1]
        name = self._names[id(weight)]
        padding_idx = args[2] if len(args) > 2 else kwargs.get("padding_idx")
        rows = self.rows.setdefault(name, TouchedRows.of(ids, padding_idx))
        result = F.embedding(*args, **kwargs)
        if self._names_nothing:
            return result
        return self._stand_in(result, self.key.draw(name, self.direction, weight, rows).view_as(result))
