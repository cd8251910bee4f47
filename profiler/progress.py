"""How the squared gradient norm divides over blocks: what a step of each part of the model is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from profiler.compute import BlockCost
from runtime.data import load_dataset
from runtime.models.build import build_blocks
from runtime.partition import draw_batch
from runtime.split import SplitModel, block_of, task_loss
from scenarios.errors import ProfileError
from scenarios.schema import Scenario

_NUM_BATCHES = 4


def gradient_split(scenario: Scenario, costs: Sequence[BlockCost]) -> np.ndarray:
    """Return each block's share of the squared gradient norm, length L, summing to 1.

    ``objective.gradient_split: measured`` takes the mean over a few batches of the training data at the starting
    weights; ``assumed`` takes the blocks' shares of the trainable parameters.

    Raises
    ------
    ProfileError
        If nothing is trainable, or the measured gradient is zero or not finite.
    """
    trainable = np.array([cost.num_trainable for cost in costs], dtype=float)
    if trainable.sum() == 0:
        raise ProfileError("the model has no trainable parameters; check training.trainable")
    if scenario.objective.gradient_split == "assumed":
        return np.asarray(trainable / trainable.sum())
    return _measured(scenario, len(costs))


def _measured(scenario: Scenario, num_blocks: int) -> np.ndarray:
    dataset = load_dataset(scenario)
    model = SplitModel(build_blocks(scenario, num_labels=dataset.num_classes or None))
    model.whole.train()
    everything = torch.arange(len(dataset.train))
    squared = np.zeros(num_blocks)
    for step in range(_NUM_BATCHES):
        batch = draw_batch(dataset.train, everything, scenario, "gradient-split", step)
        loss = task_loss(model.whole(batch.inputs, batch.mask_BS), batch.labels, scenario.model.task)
        model.whole.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in model.whole.trainable():
            if parameter.grad is not None:
                squared[block_of(name)] += float(parameter.grad.double().square().sum())
    if not np.isfinite(squared).all() or squared.sum() == 0:
        raise ProfileError(
            "the gradient at the starting weights is zero or not finite, so its split over blocks says nothing; "
            "use objective.gradient_split: assumed"
        )
    return np.asarray(squared / squared.sum())
