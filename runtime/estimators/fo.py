"""``fo``: exact gradients with all activations kept."""

from __future__ import annotations

import torch

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.optimizers import NamedOptimizer, PartOptimizer
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.schema import Training


class FirstOrder(GradientEstimator):
    """Split back-propagation (Gupta and Raskar, arXiv 1810.06060): h up, λ down, the chain rule does the rest."""

    keeps_batch_statistics = True

    def __init__(self, part: Part, training: Training) -> None:
        super().__init__(part, training)
        self._optimizer = PartOptimizer(training.optimizer, part.trainable(), training.gradient_clip)

    @property
    def _kept_by(self) -> NamedOptimizer:
        return self._optimizer

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Forward, wait for λ, backward, update."""
        with torch.set_grad_enabled(self.trains):
            h = self.part(batch.inputs, batch.mask_BS)
        gradient, loss = link.exact(h.detach(), batch, wants_gradient=self.trains)
        if self.trains:
            h.backward(gradient)
            del h, gradient
            self.update()
        return StepResult(loss)

    def update(self) -> None:
        """Take the optimizer's step along the gradients that backward has left."""
        self._optimizer.step()
