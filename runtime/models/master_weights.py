"""Master weights (Micikevicius et al., arXiv 1710.03740): trained parameters in single precision, rounded where read.

In half precision a small step is lost where it rounds to nothing: bfloat16 has three numbers between 1 and 1.02. So
parameters that are trained are kept, perturbed, averaged and sent in single precision, and operators read them rounded.
Whatever is frozen is kept in half precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.runtime.noise.substitution import Substitution


class RoundedReads(Substitution):
    """Operators read a parameter in another precision than it is kept in, and gradients reach the parameter.

    Inside another substitution they read what that one gives, rounded.

    Parameters
    ----------
    parameters
        Trainable parameters by name.
    dtype
        Precision in which they are read.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], dtype: torch.dtype) -> None:
        super().__init__(parameters)
        self._dtype = dtype

    def _original(self, parameter: nn.Parameter, outer: tuple[Substitution, str, Any] | None) -> Any:
        return parameter, outer

    def dtype_of(self, original: Any) -> torch.dtype:
        """Precision in which a parameter is read."""
        return self._dtype

    def read(self, name: str, original: Any) -> Tensor:
        """Return the parameter, or what the outer substitution gives for it, rounded and in its shape."""
        parameter, outer = original
        with torch._C.DisableTorchFunctionSubclass():
            found: Tensor = parameter if outer is None else outer[0].read(*outer[1:])
            return found.to(self._dtype)

    def embed(self, name: str, original: Any, ids: Tensor, others: Any, options: Any) -> Tensor:
        """Return rows of a parameter, rounded: [..., D] for token ids [...]."""
        parameter, outer = original
        with torch._C.DisableTorchFunctionSubclass():
            if outer is None:
                found = F.embedding(ids, parameter, *others, **options)
            else:
                found = outer[0].embed(*outer[1:], ids, others, options)
            return found.to(self._dtype)


def keep_master_weights(model: nn.Module) -> None:
    """Keep parameters that are trained in single precision.

    Parameters
    ----------
    model
        A model, or a block of it; changed in place.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
