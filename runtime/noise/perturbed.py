"""Forward passes at perturbed parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hybridsplit.runtime.noise.along_direction import AlongDirection
from hybridsplit.runtime.noise.directions import NoiseKey


class Perturbed(AlongDirection):
    """Within it, every operator that reads a trainable parameter sees ``parameter + scale * direction``.

    Out of place and tensor by tensor: the parameters themselves keep their bits, and no more than one perturbed copy
    exists at a time.

    Parameters
    ----------
    parameters, key, direction
        As for every substitution.
    scale
        The signed radius; 0 records the touched embedding rows and perturbs nothing.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], key: NoiseKey, direction: int, scale: float
    ) -> None:
        super().__init__(parameters, key, direction)
        self.scale = scale

    @property
    def _names_nothing(self) -> bool:
        return self.scale == 0.0

    def _stand_in(self, parameter: Tensor, noise: Tensor) -> Tensor:
        # Into the fresh noise, so that noise and perturbed copy are one tensor; rounded once in half precision.
        return torch.add(parameter, noise, alpha=self.scale, out=noise)
