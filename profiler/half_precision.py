"""What is left of a step where trained parameters are kept in half precision.

A step that is smaller than half the spacing of the numbers around a parameter rounds to nothing.
"""

from __future__ import annotations

import numpy as np

from hybridsplit.profiler.progress import Gradients
from hybridsplit.runtime.split.optimizers import PartOptimizer
from hybridsplit.runtime.split.parts import block_of
from hybridsplit.scenarios.schema import Scenario


def kept_shares(scenario: Scenario) -> np.ndarray | None:
    """Return, for each block, the share of its squared gradient in entries that a first step changes, length L.

    Measured with the optimizer of exact gradients at the starting weights; what is trained along estimates is taken to
    lose as much. None where every step is kept: trained parameters are in single precision. A block without a gradient
    keeps all.

    Raises
    ------
    ScenarioError
        If model or data cannot be had.
    """
    if scenario.model.dtype == "float32" or scenario.model.has_master_weights:
        return None
    gradients = Gradients(scenario)
    whole = gradients.of_batch(gradients.draw("half-precision", 0))
    before = whole.snapshot()
    squared = {name: p.grad.double().square() for name, p in whole.trainable() if p.grad is not None}
    PartOptimizer(scenario.training.optimizer, whole.trainable(), scenario.training.gradient_clip).step()
    after = whole.exchanged()
    all_of, kept_of = np.zeros(len(whole.blocks)), np.zeros(len(whole.blocks))
    for name, values in squared.items():
        all_of[block_of(name)] += float(values.sum())
        kept_of[block_of(name)] += float(values[after[name] != before[name]].sum())
    return np.divide(kept_of, all_of, out=np.ones_like(all_of), where=all_of > 0)
