"""``zo-loss`` (HOSL, arXiv 2601.10940): loss differences, answered by the server; λ is never revealed."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridsplit.runtime.estimators.base import StepResult, ZerothOrderEstimator
from hybridsplit.runtime.estimators.loss_differences import estimate_from_losses
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.scenarios.modes.loss_probes import LossProbes


class ZerothOrderLoss(ZerothOrderEstimator):
    """Probes with the server part fixed; then the server trains once.

    Two-sided, with the clean anchor, it is HOSL as published: 2Q probes, then the unperturbed smashed data train the
    server (docs/methods/training-modes.md, Anchors). One-sided, the unperturbed smashed data go up first, and once: the
    server answers their loss and trains on them when all probes are done. With the anchors ``first-plus`` and
    ``all-plus`` the server trains on positive probes instead, on the mean of their losses; unperturbed smashed data
    then go up only where one-sided differences need their loss.

    With the whole model on the device nothing trains a server, and the method is federated zeroth-order training in the
    manner of DeComFL (arXiv 2405.15861).
    """

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Smashed data up and losses down, probe by probe; then the update."""
        settings = self.training.zeroth_order
        probes = LossProbes.of(settings, on_device=not link.trains_server)

        def forward() -> Tensor:
            return self.part(batch.inputs, batch.mask_BS)  # type: ignore[no-any-return]

        def keeps(perturbed: Perturbed) -> bool:
            is_first = perturbed.direction == 0
            wanted = settings.anchor == "all-plus" or (settings.anchor == "first-plus" and is_first)
            return link.trains_server and wanted and perturbed.scale > 0

        def probe(perturbed: Perturbed) -> Tensor:
            with perturbed:
                h = forward()
            return link.probe(h, batch, keep=keeps(perturbed))

        trains_on_clean = settings.anchor == "clean" and link.trains_server
        with torch.no_grad():
            clean_loss = link.probe(forward(), batch, keep=trains_on_clean) if probes.clean_for_loss else None
            found = estimate_from_losses(self._parameters, self._noise(key), settings, probe, clean_loss)
            loss = found.loss
            if trains_on_clean and clean_loss is None:
                _, loss = link.exact(forward(), batch, wants_gradient=False)
            elif link.trains_server:
                loss = link.exact_kept(batch)
        self._descent.step(found.step)
        return StepResult(loss, found.step)
