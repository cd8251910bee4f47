"""What a batch is worth, by the gradient noise scale."""

from __future__ import annotations

from hybridsplit.scenarios.schema import Scenario


def measures_noise_scale(scenario: Scenario) -> bool:
    """Whether a noise scale is needed, not stated, and to be measured."""
    objective = scenario.objective
    is_chosen = scenario.training.chooses_batch_size
    return is_chosen and objective.gradient_noise_scale is None and objective.gradient_split == "measured"


def noise_scale(scenario: Scenario, measured: float | None) -> float:
    """Return the noise scale that counts: stated, else measured, else ``training.batch_size`` (an assumption)."""
    stated = scenario.objective.gradient_noise_scale
    if stated is not None:
        return stated
    return float(scenario.training.batch_size) if measured is None else measured


def batch_worth(batch_size: int, largest: int, scale: float) -> float:
    """What a step with a batch is worth relative to one with the largest batch: in (0, 1], 1 for the largest.

    With the best learning rate, a step with ``B`` samples lowers the loss by a share of ``1 / (1 + S / B)`` of what a
    step along the true gradient does, ``S`` being the noise scale (McCandlish et al., arXiv 1812.06162, section 2.2).

    Parameters
    ----------
    batch_size, largest
        Samples of the batch and of the largest one on offer.
    scale
        The noise scale ``S``, samples.
    """
    return (1.0 + scale / largest) / (1.0 + scale / batch_size)
