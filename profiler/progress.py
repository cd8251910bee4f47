"""What a step is worth, measured: how the squared gradient norm divides over blocks, and how noisy it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hybridsplit.profiler.costs import BlockCost
from hybridsplit.runtime.data.partition import draw_batch
from hybridsplit.runtime.data.sources import Dataset, load_dataset, model_blocks
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import Part, SplitModel, block_of, task_loss
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.schema import Scenario

_NUM_BATCHES = 4
_NUM_NOISE_BATCHES = 16
"""Batches of the larger size behind a noise scale, which is a ratio of two differences and needs more of them."""


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
    gradients = Gradients(scenario)
    squared = np.zeros(len(costs))
    for step in range(_NUM_BATCHES):
        gradients.add_squared(gradients.draw("gradient-split", step), squared)
    if not np.isfinite(squared).all() or squared.sum() == 0:
        raise ProfileError(
            "the gradient at the starting weights is zero or not finite, so its split over blocks says nothing; "
            "use objective.gradient_split: assumed"
        )
    return np.asarray(squared / squared.sum())


def measured_noise_scale(scenario: Scenario) -> float:
    """Return the simple noise scale of the gradient of all trainable parameters at the starting weights.

    Batches of the largest candidate size are drawn from the training data, and divided into batches of the smallest.

    Raises
    ------
    ProfileError
        If the batches say too little: the estimate is not positive, or not finite.
    ScenarioError
        If the data hold no batch of the largest size.
    """
    sizes = scenario.training.candidate_batch_sizes
    smallest, largest = sizes[0], sizes[-1]
    gradients = Gradients(scenario)
    gradients.hold_statistics([gradients.draw("gradient-noise", step, largest) for step in range(_NUM_NOISE_BATCHES)])
    of_small: list[float] = []
    of_large: list[float] = []
    for step in range(_NUM_NOISE_BATCHES):
        batch = gradients.draw("gradient-noise", step, largest)
        of_large.append(gradients.squared_norm(batch))
        of_small += [gradients.squared_norm(part) for part in _divided(batch, smallest)]
    return noise_estimate(smallest, float(np.mean(of_small)), largest, float(np.mean(of_large))).scale


@dataclass(frozen=True)
class NoiseEstimate:
    """Estimates of the noise and of the signal of a gradient.

    Parameters
    ----------
    trace
        Of ``tr(Σ)``, the variance of one sample's gradient summed over parameters.
    squared_norm
        Of ``|G|²``, of the true gradient.
    """

    trace: float
    squared_norm: float

    @property
    def scale(self) -> float:
        """Simple noise scale ``tr(Σ) / |G|²``, samples (arXiv 1812.06162, section 2.2).

        Raises
        ------
        ProfileError
            If the estimates are not both positive and finite.
        """
        if not (0 < self.trace < np.inf and 0 < self.squared_norm < np.inf):
            raise ProfileError(
                f"the gradient noise scale cannot be measured: found a variance of {self.trace:.3g} and a squared "
                f"gradient of {self.squared_norm:.3g}, needs both to be positive; the batches say too little about it: "
                "state objective.gradient_noise_scale, spread training.batch_sizes further, or use "
                "objective.gradient_split: assumed"
            )
        return self.trace / self.squared_norm


def noise_estimate(smaller: int, squared_smaller: float, larger: int, squared_larger: float) -> NoiseEstimate:
    """Estimate noise and signal from squared gradient norms at two batch sizes (arXiv 1812.06162, appendix A.1).

    The squared norm of a batch's gradient is ``|G|² + tr(Σ)/B`` in expectation; two sizes give both terms. Each is
    unbiased, their ratio only nearly so: means over several batches belong into the arguments.

    Parameters
    ----------
    smaller, larger
        The batch sizes.
    squared_smaller, squared_larger
        Mean squared norms of the gradient at each.
    """
    return NoiseEstimate(
        trace=(squared_smaller - squared_larger) / (1.0 / smaller - 1.0 / larger),
        squared_norm=(larger * squared_larger - smaller * squared_smaller) / (larger - smaller),
    )


def _divided(batch: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(batch.inputs) - size + 1, size):
        part = slice(start, start + size)
        yield Batch(batch.inputs[part], batch.labels[part], None if batch.mask_BS is None else batch.mask_BS[part])


class Gradients:
    """Gradients of the real model at its starting weights, on batches of all training data.

    Parameters
    ----------
    scenario
        Names model and data.

    Raises
    ------
    ScenarioError
        If they cannot be had.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._dataset: Dataset = load_dataset(scenario)
        self._model = SplitModel(model_blocks(scenario, dataset=self._dataset))
        self._model.whole.train()

    def draw(self, stream: str, step: int, batch_size: int | None = None) -> Batch:
        """Draw a batch of a named stream."""
        train = self._dataset.train
        return draw_batch(train, torch.arange(len(train)), self._scenario, stream, step, batch_size=batch_size)

    def hold_statistics(self, batches: Sequence[Batch]) -> None:
        """Take BatchNorm's statistics from some batches and keep to them from now on.

        A batch that normalises by itself has no gradient that is the mean of its samples' gradients, which the
        estimate of the noise scale rests on: the ResNet of ``quickstart`` gives a negative ``|G|²`` otherwise.
        """
        whole = self._model.whole
        for module in whole.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
                module.momentum = None  # the mean over all batches, not one that forgets
        with torch.no_grad():
            for batch in batches:
                whole(batch.inputs, batch.mask_BS)
        whole.eval()

    def squared_norm(self, batch: Batch) -> float:
        """Squared norm of a batch's gradient over all trainable parameters."""
        squared = np.zeros(self._model.num_blocks)
        self.add_squared(batch, squared)
        return float(squared.sum())

    def of_batch(self, batch: Batch) -> Part:
        """Return the whole model with the gradient of a batch in its parameters."""
        whole = self._model.whole
        loss = task_loss(whole(batch.inputs, batch.mask_BS), batch.labels, self._scenario.model.loss_kind)
        whole.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return whole

    def add_squared(self, batch: Batch, squared: np.ndarray) -> None:
        """Add the squared norm of a batch's gradient in every block to ``squared`` ([L])."""
        for name, parameter in self.of_batch(batch).trainable():
            if parameter.grad is not None:
                squared[block_of(name)] += float(parameter.grad.double().square().sum())
