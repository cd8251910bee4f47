"""``zo-projection`` (HO-SFL, arXiv 2603.14773): forward differences projected on λ, on the client alone."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridsplit.runtime.estimators.base import StepResult, ZerothOrderEstimator, seeds_of
from hybridsplit.runtime.estimators.scalar_steps import ScalarStep, gradient_coefficients
from hybridsplit.runtime.noise import NoiseKey, Perturbed, tangent_along
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.scalars import host_floats, widened


class ZerothOrderProjection(ZerothOrderEstimator):
    """One anchor forward, then P perturbed ones (2P when two-sided), or P of dual numbers.

    With λ = ∂loss/∂h at the anchor, direction u gives the scalar ``⟨λ, f(θ + μu) − f(θ)⟩ / μ``, or two-sided
    ``⟨λ, f(θ + μu) − f(θ − μu)⟩ / 2μ``, or in forward mode its limit ``⟨λ, J u⟩``, and the estimated gradient is the
    mean over directions of scalar times direction (docs/methods/training-modes.md, The modes). No graph, no
    activation gradient.
    """

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Anchor up, λ down, local probes, P scalars up."""
        settings = self.training.zeroth_order
        noise = self._noise(key)
        recorder = Perturbed(self._parameters, noise, 0, 0.0)
        with torch.no_grad(), recorder:
            h = self.part(batch.inputs, batch.mask_BS)
        gradient, loss = link.exact(h, batch, wants_gradient=True)
        assert gradient is not None
        # Only one-sided differences compare with the anchor; all others give its memory back.
        compares = settings.derivative == "finite-difference" and settings.projection_sides == "one"
        anchor = h if compares else None
        del h
        with torch.no_grad():
            derivatives = [
                torch.dot(widened(gradient.flatten()), widened(self._change(batch, noise, p, anchor).flatten()))
                for p in range(settings.directions)
            ]
            scalars_P = torch.stack(derivatives).mul_(self._per_change)
        del anchor, gradient
        applied_P = link.share_scalars(scalars_P, seeds_of(key, settings.directions))
        step = ScalarStep(noise, gradient_coefficients(host_floats(applied_P), settings), recorder.rows)
        self._descent.step(step)
        return StepResult(loss, step)

    @property
    def _per_change(self) -> float:
        """What a change of the smashed data is divided by to be a derivative."""
        settings = self.training.zeroth_order
        if settings.derivative == "forward-mode":
            return 1.0
        return 1.0 / (settings.radius if settings.projection_sides == "one" else 2 * settings.radius)

    def _change(self, batch: Batch, key: NoiseKey, direction: int, anchor: Tensor | None) -> Tensor:
        """Return the change of the smashed data along a direction, in the shape of the smashed data."""
        settings = self.training.zeroth_order

        def forward(inputs: Tensor) -> Tensor:
            return self.part(inputs, batch.mask_BS)  # type: ignore[no-any-return]

        def at(scale: float) -> Tensor:
            with Perturbed(self._parameters, key, direction, scale):
                return forward(batch.inputs)

        if settings.derivative == "forward-mode":
            return tangent_along(forward, batch.inputs, self._parameters, key, direction)
        plus = at(settings.radius)
        return plus.sub_(at(-settings.radius) if anchor is None else anchor)
