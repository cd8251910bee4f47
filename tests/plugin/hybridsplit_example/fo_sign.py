"""``fo-sign``: exact gradients through the split, of which the client follows the signs (signSGD, arXiv 1802.04434).

Facts and what carries them out stand in one file, so that whoever lists modes loads PyTorch. Where that matters, put
the estimator into a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch

from hybridsplit.plugins import (
    Asks,
    Batch,
    BlockSeconds,
    Gradient,
    GradientEstimator,
    NoiseKey,
    ServerLink,
    StepBytes,
    StepResult,
    StepSizes,
    TrainingMode,
    ZerothOrder,
)  # fmt: skip


class SignMode(TrainingMode):
    """Every parameter moves by the learning rate, against the sign of its exact gradient."""

    name = "fo-sign"
    summary = "exact gradients, of which the client part follows the signs"
    gradient = Gradient.EXACT
    asks = Asks.GRADIENT
    estimator = "hybridsplit_example.fo_sign:SignSteps"
    runs_whole_model = True
    letter, style, colour = "S", "green", "#117733"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of forward, backward, and a step that reads and writes what plain SGD does."""
        return float(passes.forward[:cut].sum()) + passes.exact_backward_s(0, cut, wants_input=False)

    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of smashed data and labels up, λ down."""
        return StepBytes(sizes.smashed + sizes.labels, sizes.smashed if client_trains else 0)

    def reliability(self, zeroth_order: ZerothOrder, num_trainable: int) -> float:
        """2/π: the squared cosine between a gradient of many normal entries and its signs."""
        return 2.0 / math.pi if num_trainable else 0.0


class SignSteps(GradientEstimator):
    """Forward, λ, backward, sign; nothing is kept between steps."""

    keeps_batch_statistics: ClassVar[bool] = True

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Train on one mini-batch."""
        with torch.set_grad_enabled(self.trains):
            h = self.part(batch.inputs, batch.mask_BS)
        gradient, loss = link.exact(h.detach(), batch, wants_gradient=self.trains)
        if self.trains:
            h.backward(gradient)
            del h, gradient
            self._descend()
        return StepResult(loss)

    @torch.no_grad()
    def _descend(self) -> None:
        for _, parameter in self.part.trainable():
            if parameter.grad is not None:
                parameter.add_(parameter.grad.sign_(), alpha=-self.training.optimizer.learning_rate)
                parameter.grad = None
