"""What every training mode of the client part has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from hybridsplit.runtime.estimators.scalar_steps import ScalarDescent, ScalarStep
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.noise.directions import in_prefix
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.optimizers import NamedOptimizer, OptimizerState
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Training


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

    keeps_batch_statistics: ClassVar[bool]
    """Whether BatchNorm runs on batch statistics (exact modes) or on running ones, untouched."""

    def __init__(self, part: Part, training: Training) -> None:
        self.part = part
        self.training = training
        self.trains = part.num_trainable > 0
        part.train(self.keeps_batch_statistics)

    @abstractmethod
    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Train on one mini-batch with the help of the other side.

        Parameters
        ----------
        batch
            The mini-batch.
        link
            The link to the server part.
        key
            The step's noise key; exact modes need none.
        """

    def update(self) -> None:
        """Take the optimizer's step along gradients that a backward pass has left on the part's parameters.

        Raises
        ------
        NotImplementedError
            By modes that keep no activations between their forward and backward passes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not step along gradients that are left on parameters")

    def close(self) -> None:  # noqa: B027
        """Release what the mode attached to the part."""

    def optimizer_state(self) -> OptimizerState:
        """Return a copy of what the mode keeps between steps, by parameter name and torch's key."""
        return self._kept_by.state() if self._kept_by is not None else {}

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`optimizer_state` gave; entries of other parts are passed over."""
        if self._kept_by is not None:
            self._kept_by.load_state(state)

    @property
    def _kept_by(self) -> NamedOptimizer | None:
        """The optimizer; None where the mode trains nothing."""
        return None


class ZerothOrderEstimator(GradientEstimator):
    """A mode that estimates the gradient along random directions and steps along the estimate.

    Raises
    ------
    ScenarioError
        If an embedding is trained inside ``zo_prefix_blocks``: each client touches other rows of it.
    """

    keeps_batch_statistics = False

    def __init__(self, part: Part, training: Training) -> None:
        super().__init__(part, training)
        _check_prefix(part, training.zo_prefix_blocks)
        self._parameters = list(part.trainable())
        self._descent = ScalarDescent(self._parameters, training.zeroth_order.optimizer)

    @property
    def _kept_by(self) -> NamedOptimizer:
        return self._descent

    def _noise(self, key: NoiseKey) -> NoiseKey:
        """Return a step's key with the directions that the scenario asks for."""
        settings = self.training.zeroth_order
        return replace(key, distribution=settings.distribution, prefix_blocks=self.training.zo_prefix_blocks)


def _check_prefix(part: Part, prefix_blocks: int) -> None:
    for name, module in part.named_modules():
        if isinstance(module, nn.Embedding) and module.weight.requires_grad and in_prefix(f"{name}.", prefix_blocks):
            raise ScenarioError(
                f"training.zo_prefix_blocks: found {prefix_blocks}, and the embedding {name} is trained in these "
                "blocks; its touched rows differ by client, so that scalars alone cannot move it alike everywhere: "
                "freeze it with trainable: lora, or lower zo_prefix_blocks"
            )


def seeds_of(key: NoiseKey, num_directions: int) -> torch.Tensor:
    """Return one 4-byte tag a direction, as it crosses the air; shape [P]."""
    return torch.tensor([key.direction_seed("", p) & 0x7FFFFFFF for p in range(num_directions)], dtype=torch.int32)
