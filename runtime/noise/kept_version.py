"""Forward passes at weights that stay as they are while the parameters move on: weight stashing (PipeDream, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.runtime.noise.substitution import Substitution


class KeptVersion(Substitution):
    """Operators read leaves of their own that hold today's weights; gradients end there.

    The leaves share the parameters' memory until :meth:`part_from` is called, which must be before an update: from then
    on the parameters have memory of their own, and the old weights live as long as a graph, or this, does.

    Parameters
    ----------
    parameters
        Trainable parameters by name.
    """

    def __init__(self, parameters: Sequence[tuple[str, nn.Parameter]]) -> None:
        super().__init__(parameters)
        # Not ``detach``: that would share the count of changes, by which a graph finds its weights altered.
        self._leaves = {name: parameter.data.requires_grad_() for name, parameter in parameters}
        self._is_apart = False

    def _original(self, parameter: nn.Parameter, outer: Any) -> Any:
        return None

    def read(self, name: str, original: Any) -> Tensor:
        """Return the weights of this version, in the parameter's shape."""
        return self._leaves[name]

    def embed(self, name: str, original: Any, ids: Tensor, others: Any, options: Any) -> Tensor:
        """Return rows of a table of this version: [..., D] for token ids [...]."""
        return F.embedding(ids, self._leaves[name], *others, **options)

    def hand_over_gradients(self) -> None:
        """Make the gradients that arrived at the leaves those of the parameters."""
        for name, parameter in self._parameters:
            leaf = self._leaves[name]
            parameter.grad, leaf.grad = leaf.grad, None

    def part_from(self) -> None:
        """Give the parameters memory of their own, with the same weights."""
        if not self._is_apart:
            self._is_apart = True
            for _, parameter in self._parameters:
                parameter.data = parameter.data.clone()
