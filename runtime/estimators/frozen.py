"""``frozen``: the control. The client part is evaluated and never trained."""

from __future__ import annotations

import torch

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, ServerLink


class Frozen(GradientEstimator):
    """Forward only; the server part trains on whatever features the client part gives."""

    keeps_batch_statistics = False

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Smashed data up, nothing down."""
        with torch.no_grad():
            h = self.part(batch.inputs, batch.mask_BS)
        _, loss = link.exact(h, batch, wants_gradient=False)
        return StepResult(loss)
