"""``zo-loss`` (HOSL, arXiv 2601.10940): loss differences, answered by the server; λ is never revealed."""

from __future__ import annotations

import torch

from runtime.estimators.base import GradientEstimator, ScalarStep, StepResult
from runtime.noise import NoiseKey, Perturbed
from runtime.scalars import host_floats
from runtime.wire import Batch, ServerLink
from scenarios.contracts.modes import Mode


class ZerothOrderLoss(GradientEstimator):
    """2Q probes with the server part fixed, then one clean forward that trains the server.

    Direction z gives ``g = (loss(θ + εz) − loss(θ − εz)) / 2ε`` and the update is ``θ ← θ − η / Q · Σ_q g_q z_q``
    (methods note, section 1.1, the paper's clean anchor). With the whole model on the device no clean forward is
    needed and the method is federated zeroth-order training in the manner of DeComFL (arXiv 2405.15861).
    """

    mode = Mode.ZO_LOSS
    keeps_batch_statistics = False

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Probe up and loss down 2Q times, then the clean smashed data up."""
        settings = self.training.zeroth_order
        coefficients: list[float] = []
        probe_losses: list[float] = []
        rows = {}
        with torch.no_grad():
            for direction in range(settings.directions):
                pair: list[torch.Tensor] = []
                for sign in (1.0, -1.0):
                    probe = Perturbed(self.part.trainable(), key, direction, sign * settings.radius)
                    with probe:
                        shifted = self.part(batch.inputs, batch.mask_BS)
                    pair.append(link.probe(shifted, batch))
                    rows = probe.rows
                    del shifted
                plus, minus = host_floats(torch.stack(pair))
                slope = (plus - minus) / (2 * settings.radius)
                coefficients.append(settings.optimizer.learning_rate / settings.directions * slope)
                probe_losses += [plus, minus]
            loss = sum(probe_losses) / len(probe_losses)
            if link.trains_server:
                _, loss = link.exact(self.part(batch.inputs, batch.mask_BS), batch, wants_gradient=False)
        step = ScalarStep(key, coefficients, rows)
        step.replay(self.part)
        return StepResult(loss, step)
