"""Steps on batches in parts: all parts forward, all backward in the same order, and one update after the last.

While later parts go forward, earlier ones are on their way and at the server. The order is fixed, ``F_0 ... F_{m-1},
B_0 ... B_{m-1}``, and so are the bits: gradients are added in ascending order and divided once, on either side of the
cut (:mod:`hybridsplit.runtime.split.micro_batches`), exactly as of a model that is cut several times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult
from hybridsplit.runtime.estimators.fo_recompute import Exchange, FirstOrderRecompute
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.micro_batches import divide_gradients, mean_loss, parts_of, weight_of
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes import MODES


class MicroBatchSteps(ABC):
    """The steps of a mode, each on a batch in parts.

    Parameters
    ----------
    part
        The client part.
    micro_batches
        Parts of a batch; the server part must know the number too.
    task
        The scenario's ``model.loss_kind``, by which parts are weighed.
    """

    def __init__(self, part: Part, micro_batches: int, task: str) -> None:
        self.part = part
        self._micro_batches, self._task = micro_batches, task

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Train on one mini-batch with the help of the other side.

        Parameters
        ----------
        batch, link, key
            As of :meth:`hybridsplit.runtime.estimators.GradientEstimator.step`.
        """
        parts = parts_of(batch, self._micro_batches)
        weights = [weight_of(part.labels, self._task) for part in parts]
        losses = [self._forward(part, link) for part in parts]
        for number in range(self._micro_batches):
            self._backward(weights if number == self._micro_batches - 1 else [])
        return StepResult(mean_loss(losses, weights))

    @abstractmethod
    def _forward(self, part: Batch, link: ServerLink) -> float:
        """Let the next part go forward and be trained on by the server; return its loss."""

    @abstractmethod
    def _backward(self, weights: list[float]) -> None:
        """Let the oldest part go backward; with weights, those of all parts, it is the last, and the update follows."""


class _KeptGraphs(MicroBatchSteps):
    """``fo``: the activations of all parts are kept."""

    def __init__(self, estimator: GradientEstimator, micro_batches: int, task: str) -> None:
        super().__init__(estimator.part, micro_batches, task)
        self._estimator = estimator
        self._in_flight: deque[tuple[Tensor, Tensor | None]] = deque()

    def _forward(self, part: Batch, link: ServerLink) -> float:
        with torch.enable_grad():
            h = self.part(part.inputs, part.mask_BS)
        gradient, loss = link.exact(h.detach(), part, wants_gradient=True)
        self._in_flight.append((h, gradient))
        return loss

    def _backward(self, weights: list[float]) -> None:
        h, gradient = self._in_flight.popleft()
        h.backward(gradient)  # type: ignore[no-untyped-call]
        del h, gradient
        if weights:
            divide_gradients(self.part.parameters(), weights)
            self._estimator.update()


class _Recomputed(MicroBatchSteps):
    """``fo-recompute``: each part in the recompute order, and the optimizer inside the backward pass of the last."""

    def __init__(self, estimator: FirstOrderRecompute, micro_batches: int, task: str) -> None:
        super().__init__(estimator.part, micro_batches, task)
        self._estimator = estimator
        self._in_flight: deque[Iterator[None]] = deque()

    def _forward(self, part: Batch, link: ServerLink) -> float:
        exchange = Exchange()
        halves = self._estimator.halves(part, exchange)
        next(halves)
        assert exchange.smashed is not None
        exchange.gradient, loss = link.exact(exchange.smashed, part, wants_gradient=True)
        exchange.smashed = None
        self._in_flight.append(halves)
        return loss

    def _backward(self, weights: list[float]) -> None:
        self._estimator.sum_up(weights)
        next(self._in_flight.popleft(), None)


def in_micro_batches(estimator: GradientEstimator, mode: str, micro_batches: int, task: str) -> MicroBatchSteps:
    """Return the steps of a mode on batches in parts.

    Parameters
    ----------
    estimator, mode
        What carries the mode out, and its name.
    micro_batches, task
        As of :class:`MicroBatchSteps`.

    Raises
    ------
    ContractError
        If the mode's batches cannot be divided, or the client part has nothing to train.
    """
    if not (MODES[mode].divides_batches and estimator.trains):
        raise ContractError(
            f"{mode} with {micro_batches} micro-batches: its batches cannot be divided here; make the plan again for "
            "this scenario"
        )
    if isinstance(estimator, FirstOrderRecompute):
        return _Recomputed(estimator, micro_batches, task)
    return _KeptGraphs(estimator, micro_batches, task)
