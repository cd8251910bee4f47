"""One server model for all clients: ``shared-mean`` and ``shared-sequential``.

See docs/methods/training-modes.md, Shared servers.

``shared-sequential`` steps on every client's smashed data in turn (SplitFed V2, arXiv 2004.12088). ``shared-mean``
steps once a step on the mean of all clients' gradients, block by block over the clients whose cut lies below the block,
weighted by data; λ is taken at the parameters before that step, the same for all (HO-SFL, arXiv 2603.14773).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from hybridsplit.runtime.aggregation.weighted_mean import Contribution
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.compute import CPU
from hybridsplit.runtime.split.optimizers import OptimizerState, PartOptimizer
from hybridsplit.runtime.split.parts import SplitModel, block_of, is_of_head
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.schema import Training

SERVER = "@server"
"""Whose optimizer state the shared server's is, among those of clients; no client's name begins like this."""


class _PutAside:
    """Adds a client's gradients to the sums of the step."""

    def __init__(self, parameters: Iterator[tuple[str, nn.Parameter]], weight: float, sums: _GradientSums) -> None:
        self._parameters = dict(parameters)
        self._weight = weight
        self._sums = sums

    def step(self) -> None:
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                self._sums.add(name, parameter.grad, self._weight)
                parameter.grad = None

    def state(self) -> OptimizerState:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing is kept by a client's side of a shared server."""


class _GradientSums:
    """Weighted sums of gradients, and the sums of their weights."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.weights: dict[str, float] = {}

    def add(self, name: str, gradient: Tensor, weight: float) -> None:
        if name in self.sums:
            self.sums[name].add_(gradient, alpha=weight)
            self.weights[name] += weight
        else:
            self.sums[name], self.weights[name] = gradient.mul(weight), weight

    def take_means(self) -> dict[str, Tensor]:
        """Return the means, and begin anew."""
        means = {name: total.div_(self.weights[name]) for name, total in self.sums.items()}
        self.sums, self.weights = {}, {}
        return means


class SharedServer:
    """The blocks above the cuts, trained by all clients together for one round.

    Parameters
    ----------
    model
        Holds the weights the round starts from; its blocks above the cuts are trained in place.
    training, task
        The scenario's training section in this round, and its ``model.loss_kind``.
    assignments
        The clients, in the order in which they are served.
    """

    def __init__(self, model: SplitModel, training: Training, task: str, assignments: Sequence[Assignment]) -> None:
        self._model = model
        self._assignments = [a for a in assignments if a.placement.cut < model.num_blocks]
        lowest = min((a.placement.cut for a in self._assignments), default=model.num_blocks)
        self._parameters = dict(model.server_part(lowest).trainable())
        settings = training.server_optimizer or training.optimizer
        self._optimizer = PartOptimizer(settings, self._parameters.items(), training.gradient_clip)
        self._sums: _GradientSums | None = _GradientSums() if training.server_model == "shared-mean" else None
        self._sides: dict[str, ServerSide] = {}
        for a in self._assignments:
            part = model.server_part(a.placement.cut)
            stepper = self._optimizer if self._sums is None else _PutAside(part.trainable(), a.data_weight, self._sums)
            self._sides[a.client] = ServerSide(part, training, task, stepper)

    @property
    def clients(self) -> tuple[str, ...]:
        """Those who use the server, in the order in which they are served: all but those with the whole model."""
        return tuple(a.client for a in self._assignments)

    def side(self, client: str) -> ServerSide:
        """Return the server as one client sees it."""
        return self._sides[client]

    def end_step(self) -> None:
        """Take the step of ``shared-mean``, when all clients' gradients are there."""
        if self._sums is None:
            return
        with torch.no_grad():
            for name, mean in self._sums.take_means().items():
                self._parameters[name].grad = mean
        self._optimizer.step()

    def contribution(self) -> Contribution:
        """Return the server's blocks, each weighted by the data of those who trained it there."""
        weights = {
            name: total
            for name in self._model.whole.exchanged()
            if not is_of_head(name)
            and (total := sum(a.data_weight for a in self._assignments if a.placement.cut <= block_of(name))) > 0
        }
        state = self._model.whole.exchanged()
        return Contribution({name: state[name].to(CPU, copy=True) for name in weights}, weights)

    def optimizer_state(self) -> OptimizerState:
        """Return what the optimizer keeps between steps."""
        return self._optimizer.state()

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`optimizer_state` gave."""
        self._optimizer.load_state(state)
