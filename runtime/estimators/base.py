"""What every training mode of the client part has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from runtime.noise import NoiseKey, Rows, TouchedRows, descend
from runtime.split import Part
from runtime.wire import Batch, ServerLink
from scenarios.contracts.modes import Mode
from scenarios.schema import Training


@dataclass(frozen=True)
class ScalarStep:
    """All that is needed to replay one zeroth-order step.

    Parameters
    ----------
    key
        The step's noise key.
    coefficients
        One number a direction; the parameters moved by minus the sum of coefficient times direction.
    rows
        Touched rows of the embeddings.
    """

    key: NoiseKey
    coefficients: list[float]
    rows: Rows

    def on_server(self) -> ScalarStep:
        """Return the step as the server keeps it for its replay, in memory of its own."""
        rows = {
            name: TouchedRows(touched.ids_N.clone(), touched.first_N.clone(), touched.counts_N1.clone())
            for name, touched in self.rows.items()
        }
        return ScalarStep(self.key, self.coefficients, rows)

    def replay(self, part: Part) -> None:
        """Apply the step to a part with the same parameters, giving the same bits."""
        descend(part.trainable(), self.key, self.coefficients, self.rows)


@dataclass(frozen=True)
class StepResult:
    """Loss of a step, and its scalars where the mode is zeroth-order."""

    loss: float
    scalars: ScalarStep | None = None


class GradientEstimator(ABC):
    """Trains a client part, one step at a time.

    Parameters
    ----------
    part
        The client part.
    training
        The scenario's training section.
    """

    mode: ClassVar[Mode]
    keeps_batch_statistics: ClassVar[bool]
    """Whether BatchNorm runs on batch statistics (exact modes) or on running ones, untouched."""

    def __init__(self, part: Part, training: Training) -> None:
        self.part = part
        self.training = training
        self.trains = part.num_trainable > 0
        part.train(self.keeps_batch_statistics)

    @abstractmethod
    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Train on one mini-batch with the help of the other side."""

    def close(self) -> None:  # noqa: B027
        """Release what the mode attached to the part."""


def seeds_of(key: NoiseKey, num_directions: int) -> torch.Tensor:
    """Return one 4-byte tag a direction, as it crosses the air; shape [P]."""
    return torch.tensor([key.direction_seed("", p) & 0x7FFFFFFF for p in range(num_directions)], dtype=torch.int32)
