"""Steps along estimated gradients: the client's own, the server's replay of them, and the server's in a pure baseline.

All three are this one code, so that the same scalars and the same state give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hybridsplit.runtime.noise import NoiseKey, Rows, descend, estimated_gradient
from hybridsplit.runtime.split.optimizers import NamedOptimizer, is_plain, make_optimizer
from hybridsplit.scenarios.schema import Optimizer, ZerothOrder


@dataclass(frozen=True)
class ScalarStep:
    """All that is needed to take, or replay, one zeroth-order step.

    Parameters
    ----------
    key
        The step's noise key.
    coefficients
        One number a direction; the estimated gradient is the sum of coefficient times direction.
    rows
        Touched rows of the embeddings.
    """

    key: NoiseKey
    coefficients: list[float]
    rows: Rows

    def on_server(self) -> ScalarStep:
        """Return the step as the server keeps it for its replay, in memory of its own."""
        rows = {name: touched.clone() for name, touched in self.rows.items()}
        return ScalarStep(self.key, self.coefficients, rows)


def gradient_coefficients(derivatives: Sequence[float], settings: ZerothOrder) -> list[float]:
    """Return the weight of each direction in the estimated gradient: clipped derivatives over their number."""
    limit = settings.clip_derivative
    # min and max return their first argument where one is NaN: in this order NaN stays, and divergence shows.
    clipped = derivatives if limit is None else [min(max(value, -limit), limit) for value in derivatives]
    return [value / len(derivatives) for value in clipped]


class ScalarDescent(NamedOptimizer):
    """Takes zeroth-order steps with the optimizer of estimated gradients.

    Plain SGD moves the parameters along their directions, without gradient or state. Momentum, moments and weight decay
    need the estimated gradient itself: one parameter's at a time, freed after its update; rows of an embedding that the
    batch does not touch have gradient zero, and momentum, moments and decay go on moving them.

    Parameters
    ----------
    parameters
        Trainable parameters with their names.
    settings
        ``zeroth_order.optimizer``.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: Optimizer) -> None:
        named = dict(parameters)
        self._learning_rate = settings.learning_rate
        kept = {} if is_plain(settings) else {name: make_optimizer(settings, [p]) for name, p in named.items()}
        super().__init__(named, kept)

    def step(self, step: ScalarStep) -> None:
        """Take a step; on the same parameters and state it gives the same bits, wherever it is taken."""
        if not self._optimizers:
            scaled = [self._learning_rate * coefficient for coefficient in step.coefficients]
            descend(self._parameters.items(), step.key, scaled, step.rows)
            return
        for name, optimizer in self._optimizers.items():
            parameter = self._parameters[name]
            with torch.no_grad():
                parameter.grad = estimated_gradient(name, parameter, step.key, step.coefficients, step.rows.get(name))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
