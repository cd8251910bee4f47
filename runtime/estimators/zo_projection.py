"""``zo-projection`` (HO-SFL, arXiv 2603.14773): forward differences projected on λ, on the client alone."""

from __future__ import annotations

import torch

from runtime.estimators.base import GradientEstimator, ScalarStep, StepResult, seeds_of
from runtime.noise import NoiseKey, Perturbed
from runtime.scalars import host_floats, widened
from runtime.wire import Batch, ServerLink
from scenarios.contracts.modes import Mode


class ZerothOrderProjection(GradientEstimator):
    """One anchor forward, then P perturbed ones.

    With λ = ∂loss/∂h at the anchor, direction u gives the scalar ``v = ⟨λ, f(θ + μu) − f(θ)⟩``, and the update is
    ``θ ← θ − η / (P μ) · Σ_p v_p u_p`` (methods note, section 2.2). The client needs no graph, no gradient and no
    optimizer state.
    """

    mode = Mode.ZO_PROJECTION
    keeps_batch_statistics = False

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Anchor up, λ down, P local probes, P scalars up."""
        settings = self.training.zeroth_order
        anchor = Perturbed(self.part.trainable(), key, 0, 0.0)
        with torch.no_grad(), anchor:
            h = self.part(batch.inputs, batch.mask_BS)
        gradient, loss = link.exact(h, batch, wants_gradient=True)
        assert gradient is not None
        scalars: list[torch.Tensor] = []
        with torch.no_grad():
            for direction in range(settings.directions):
                with Perturbed(self.part.trainable(), key, direction, settings.radius):
                    shifted = self.part(batch.inputs, batch.mask_BS)
                scalars.append(torch.dot(widened(gradient.flatten()), widened(shifted.sub_(h).flatten())))
                del shifted
            scalars_P = torch.stack(scalars).float()
        del h, gradient
        applied_P = link.share_scalars(scalars_P, seeds_of(key, settings.directions))
        factor = settings.optimizer.learning_rate / (settings.directions * settings.radius)
        step = ScalarStep(key, [factor * value for value in host_floats(applied_P)], anchor.rows)
        step.replay(self.part)
        return StepResult(loss, step)
