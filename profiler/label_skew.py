"""How unlike each client's labels are to those of all: known from the partition, without any training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridsplit.runtime.data.partition import partition
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.scenarios.schema import Scenario

FloatArray = NDArray[np.float64]


def client_skew(scenario: Scenario) -> Mapping[str, float]:
    """Return every client's distance in total variation between its labels and those of all, in [0, 1].

    What a fair draw of as many samples would show by chance is taken off (:func:`distance`). Labels are classes; the
    tokens to be predicted, for a language model. Where labels are numbers, or do not exclude one another, it is 0.

    Raises
    ------
    ScenarioError
        If the data cannot be had.
    """
    train = load_dataset(scenario).train
    dealt = partition(train, scenario)
    labels = train.labels
    if labels.is_floating_point() or (labels.ndim > 1 and scenario.model.task != "causal-lm"):
        return dict.fromkeys(dealt, 0.0)
    classes = int(labels.max()) + 1
    whole = _counts(labels, classes)
    return {client: distance(_counts(labels[index], classes), whole) for client, index in dealt.items()}


def distance(part: FloatArray, whole: FloatArray) -> float:
    """Total variation between the shares of a part and of the whole, less what chance shows, and rescaled to [0, 1].

    A part of ``n`` of ``N`` drawn without choice has in class ``k`` a share with variance
    ``p (1 - p) (1 - n/N) / n``, so that half the sum of its mean absolute deviations, ``√(2/π)`` times the standard
    ones, is expected by chance.

    Parameters
    ----------
    part, whole
        [C] how many of each class.
    """
    number, total = part.sum(), whole.sum()
    share = whole / total
    found = 0.5 * np.abs(part / number - share).sum()
    deviation = np.sqrt(share * (1 - share) * (1 - number / total) / number)
    chance = min(0.5 * float(np.sqrt(2 / np.pi) * deviation.sum()), 1.0)
    return float(max(0.0, found - chance) / (1 - chance)) if chance < 1 else 0.0


def _counts(labels: Tensor, classes: int) -> FloatArray:
    """[C] how often each class occurs; tokens of no text, which are below 0, do not count."""
    flat = labels.flatten()
    return torch.bincount(flat[flat >= 0], minlength=classes).numpy().astype(np.float64)
