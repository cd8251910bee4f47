"""Forward passes in which operators read parameters moved along one random direction, or derivatives along it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.runtime.noise.directions import NoiseKey
from hybridsplit.runtime.noise.substitution import Substitution
from hybridsplit.runtime.noise.touched_rows import TouchedRows
from hybridsplit.scenarios.errors import ScenarioError


class AlongDirection(Substitution):
    """What is read follows from the parameter and from one random direction, and has no gradient.

    Of an embedding only the rows that the batch touches are replaced; all other rows have no gradient.

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
        super().__init__(parameters)
        self.key = key
        self.direction = direction
        self.rows: dict[str, TouchedRows] = {}

    def _original(self, parameter: nn.Parameter, outer: tuple[Substitution, str, Any] | None) -> Tensor:
        return parameter.detach() if outer is None else cast("Tensor", outer[2])

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
        """Return what is read instead of rows of a parameter, [..., D] for token ids [...], as every substitution.

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
