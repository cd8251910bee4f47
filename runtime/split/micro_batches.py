"""Parts of a batch, and the one way in which their gradients make that of the batch.

Gradients are added in ascending order of the parts, each weighed by its share of labels that count, and divided once
after the last. What a number of micro-batches does to bits is stated here, for one cut and for several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import task_loss


def parts_of(batch: Batch, number: int) -> list[Batch]:
    """Return the equal parts of a batch, in order.

    Parameters
    ----------
    batch
        A step's mini-batch.
    number
        How many; it divides the batch.
    """
    size = len(batch.inputs) // number
    assert size * number == len(batch.inputs), f"{number} micro-batches of {len(batch.inputs)} samples"
    mask_BS = batch.mask_BS
    return [
        Batch(
            batch.inputs[at : at + size],
            batch.labels[at : at + size],
            None if mask_BS is None else mask_BS[at : at + size],
        )
        for at in range(0, len(batch.inputs), size)
    ]


def weight_of(labels: Tensor, task: str) -> float:
    """Return the share of a micro-batch's labels that count: padding does not. 1 for shapes, which have no values.

    Parameters
    ----------
    labels
        [B, ...] of the micro-batch.
    task
        The scenario's ``model.loss_kind``.
    """
    if task != "causal-lm" or labels.is_meta:
        return 1.0
    counted = labels[:, 1:].ne(-100)
    return int(counted.sum()) / max(1, counted.numel())


def loss_of(output: Tensor, labels: Tensor, task: str, weight: float) -> tuple[Tensor, Tensor]:
    """Return the loss of a micro-batch and what is differentiated of it, both of shape [].

    Parameters
    ----------
    output, labels
        What the last block gave, and the labels.
    task, weight
        As of :func:`weight_of`, and what it returned.
    """
    # The mean of no label is no number.
    loss = task_loss(output, labels, task) if weight > 0.0 else 0.0 * output.sum()
    return loss, loss if weight in (0.0, 1.0) else weight * loss


def divide_gradients(parameters: Iterable[nn.Parameter], weights: Sequence[float]) -> None:
    """Turn the sum of gradients into their mean, where there are any.

    Parameters
    ----------
    parameters
        Parameters with the sum as their gradient.
    weights
        Of all micro-batches, in ascending order.
    """
    total = sum(weights)
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.div_(total)


def mean_loss(losses: Sequence[float], weights: Sequence[float]) -> float:
    """Return the loss of a batch from those of its micro-batches, in ascending order.

    Parameters
    ----------
    losses, weights
        Of all of them.
    """
    return sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)
