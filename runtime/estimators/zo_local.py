"""``zo-local`` (HERON-SFL, arXiv 2601.09076): loss differences of an auxiliary head; nothing comes down."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridsplit.runtime.estimators.base import StepResult, ZerothOrderEstimator
from hybridsplit.runtime.estimators.local_losses import LocalLosses
from hybridsplit.runtime.estimators.loss_differences import estimate_from_losses
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.schema import Training


class ZerothOrderLocal(ZerothOrderEstimator):
    """Forward passes alone: client part and head are perturbed together, and the client evaluates its own loss.

    HERON-SFL takes one-sided differences; ``loss_sides`` chooses. The scalars go up after the round.

    Parameters
    ----------
    part, training
        As for every mode; the part has an auxiliary head.
    upload_every
        Steps from one upload of smashed data to the next; the first of a round always sends.
    """

    def __init__(self, part: Part, training: Training, upload_every: int = 1) -> None:
        super().__init__(part, training)
        self._local = LocalLosses(part, upload_every)

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Smashed data up where it is their turn, local probes, and the update."""
        settings = self.training.zeroth_order

        def local_loss() -> Tensor:
            return self._local.of(self.part(batch.inputs, batch.mask_BS), batch)

        def probe(perturbed: Perturbed) -> Tensor:
            with perturbed:
                return local_loss()

        with torch.no_grad():
            clean_loss = None
            if self._local.sends(key) or settings.loss_sides == "one":
                h = self.part(batch.inputs, batch.mask_BS)
                self._local.send(h, batch, link, key)
                clean_loss = self._local.of(h, batch) if settings.loss_sides == "one" else None
                del h
            found = estimate_from_losses(self._parameters, self._noise(key), settings, probe, clean_loss)
        self._descent.step(found.step)
        return StepResult(self._local.reported(found.loss), found.step)
