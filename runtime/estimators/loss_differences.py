"""Directional derivatives from differences of losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridsplit.runtime.estimators.scalar_steps import ScalarStep, gradient_coefficients
from hybridsplit.runtime.noise import NoiseKey, Perturbed, Rows
from hybridsplit.runtime.split.scalars import host_floats
from hybridsplit.scenarios.schema import ZerothOrder


@dataclass(frozen=True)
class LossEstimate:
    """A zeroth-order step, and the mean of the probes' losses (of the clean one, if there is one)."""

    step: ScalarStep
    loss: float


def estimate_from_losses(
    parameters: Iterable[tuple[str, nn.Parameter]],
    key: NoiseKey,
    settings: ZerothOrder,
    probe: Callable[[Perturbed], Tensor],
    clean_loss: Tensor | None,
) -> LossEstimate:
    """Probe the loss along all directions.

    Direction z gives ``(loss(θ + εz) − loss(θ − εz)) / 2ε``, or ``(loss(θ + εz) − loss(θ)) / ε`` one-sided.

    Parameters
    ----------
    parameters
        Trainable parameters with their names.
    key, settings
        The step's noise key, and the zeroth-order settings.
    probe
        Evaluates the loss, shape [], inside the perturbation it is given.
    clean_loss
        The unperturbed loss of one-sided differences; None for two-sided ones.
    """
    named = list(parameters)
    rows: Rows = {}
    losses: list[Tensor] = [] if clean_loss is None else [clean_loss]
    for direction in range(settings.directions):
        for sign in (1.0,) if clean_loss is not None else (1.0, -1.0):
            perturbed = Perturbed(named, key, direction, sign * settings.radius)
            losses.append(probe(perturbed))
            rows = perturbed.rows
    values = host_floats(torch.stack(losses))
    if clean_loss is not None:
        derivatives = [(plus - values[0]) / settings.radius for plus in values[1:]]
        loss = values[0]
    else:
        pairs = zip(values[::2], values[1::2], strict=True)
        derivatives = [(plus - minus) / (2 * settings.radius) for plus, minus in pairs]
        loss = sum(values) / len(values)
    return LossEstimate(ScalarStep(key, gradient_coefficients(derivatives, settings), rows), loss)
