"""Optimizers of exact gradients, whole or inside backward.

Their state starts afresh every round on either side: weights are averaged between rounds, and state of other weights
would not belong to the average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from scenarios.schema import AdamW, Optimizer


def make_optimizer(settings: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of a scenario for some parameters.

    Tensor by tensor rather than fused over all of them: the multi-tensor form needs temporaries of the whole model.
    """
    if isinstance(settings, AdamW):
        return torch.optim.AdamW(
            list(parameters), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
    return torch.optim.SGD(
        list(parameters),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        foreach=False,
    )


class OptimizerInBackward:
    """Updates each parameter, and frees its gradient, as soon as backward has accumulated it.

    Parameters
    ----------
    settings
        The scenario's optimizer.
    parameters
        Parameters to train; each gets an optimizer of its own.
    """

    def __init__(self, settings: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        self._handles = [
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                _stepper(make_optimizer(settings, [parameter]))
            )
            for parameter in parameters
        ]

    def remove(self) -> None:
        """Detach from the parameters."""
        for handle in self._handles:
            handle.remove()


def _stepper(optimizer: torch.optim.Optimizer) -> Callable[[torch.Tensor], None]:
    def step(_: torch.Tensor) -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
