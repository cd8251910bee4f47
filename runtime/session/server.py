"""The server's side of a client: the blocks above its cut, its own copy of them or shared with others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from hybridsplit.runtime.estimators.loss_differences import estimate_from_losses
from hybridsplit.runtime.estimators.scalar_steps import ScalarDescent
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.split.link import Batch, as_sent
from hybridsplit.runtime.split.micro_batches import divide_gradients, loss_of, weight_of
from hybridsplit.runtime.split.optimizers import OptimizerState, PartOptimizer
from hybridsplit.runtime.split.parts import Part, task_loss
from hybridsplit.runtime.split.scalars import host_floats
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Training


class StepsOnGradients(Protocol):
    """Takes the gradients that a client's data left on the server part, and clears them."""

    def step(self) -> None:
        """Apply them, or put them aside."""

    def state(self) -> OptimizerState:
        """Return what is kept between steps."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`state` returned."""


class ServerSide:
    """Forward, backward and update of the server part on one client's data.

    With ``server_gradient: zeroth-order`` there is no backward: the gradient is estimated from loss differences at the
    smashed data, along directions of the server's own.

    Parameters
    ----------
    part
        Blocks above the cut; with none of them the loss is computed on the device itself.
    training
        The scenario's training section.
    task
        The scenario's ``model.loss_kind``.
    optimizer
        What becomes of exact gradients; an optimizer of this part alone when None. With one, the part is shared: what
        is not finite is passed over then, and its client gets a loss of NaN, by which it is found.
    micro_batches
        Parts that a batch is trained in: so many calls of :meth:`exact` are one step, which the last of them ends.
    """

    def __init__(
        self,
        part: Part,
        training: Training,
        task: str,
        optimizer: StepsOnGradients | None = None,
        *,
        micro_batches: int = 1,
    ) -> None:
        self.part = part
        self.seconds = 0.0
        self._task = task
        self._settings = training.zeroth_order
        self._exact: StepsOnGradients | None = optimizer
        self._is_shared = optimizer is not None
        self._estimated: ScalarDescent | None = None
        if training.server_gradient == "zeroth-order":
            self._estimated = ScalarDescent(part.trainable(), training.zeroth_order.optimizer)
        elif optimizer is None:
            settings = training.server_optimizer or training.optimizer
            self._exact = PartOptimizer(settings, part.trainable(), training.gradient_clip)
        self._key: NoiseKey | None = None
        self._kept: list[Tensor] = []
        self._micro_batches = micro_batches
        self._weights: list[float] = []
        part.train(self._estimated is None)

    @property
    def trains_server(self) -> bool:
        """Whether there is a server part at all."""
        return len(self.part.blocks) > 0

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step: its directions are known, and no smashed data are kept yet."""
        self._key = replace(key, side="server", distribution=self._settings.distribution, prefix_blocks=0)
        self._kept.clear()
        self._weights.clear()

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Train the server part on smashed data, of the whole batch or of the next of its micro-batches.

        Parameters
        ----------
        h
            Smashed data, shape of the activation at the cut; not differentiated through.
        batch
            Labels and mask.
        wants_gradient
            Whether the client needs λ.

        Returns
        -------
        λ = ∂loss/∂h in the shape of ``h`` (None if not wanted), from the parameters before the update, and the loss. Of
        a micro-batch λ is that of its weighed loss, and what it says of the batch is for the client to divide.

        Raises
        ------
        ContractError
            If λ is wanted and the server does not back-propagate.
        """
        with self._timed():
            if self._micro_batches > 1:
                return self._train_on_part(as_sent(h), batch, wants_gradient=wants_gradient)
            return self._train([as_sent(h)], batch, wants_gradient=wants_gradient)

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Return the loss of smashed data, shape []; the part is in inference mode and stays as it was.

        Parameters
        ----------
        h, batch
            Smashed data, and their labels and mask.
        keep
            Whether to keep the smashed data for :meth:`exact_kept`.
        """
        with self._timed(), torch.no_grad():
            was_training = self.part.training
            self.part.eval()
            loss = self._loss(as_sent(h), batch)
            self.part.train(was_training)
            if keep:
                self._kept.append(as_sent(h.detach()))
            return loss

    def exact_kept(self, batch: Batch) -> float:
        """Train the server part once, on the mean loss of all smashed data kept in this step; return that loss."""
        with self._timed():
            _, loss = self._train(self._kept, batch, wants_gradient=False)
            self._kept.clear()
            return loss

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars to apply, [P]: directions are this client's own, so the average is over one client."""
        return scalars_P

    def optimizer_state(self) -> OptimizerState:
        """Return what the optimizer keeps between steps."""
        return self._optimizer.state()

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`optimizer_state` gave; entries of other parts are passed over."""
        self._optimizer.load_state(state)

    @property
    def _optimizer(self) -> StepsOnGradients | ScalarDescent:
        found = self._exact or self._estimated
        assert found is not None
        return found

    def _loss(self, h: Tensor, batch: Batch) -> Tensor:
        return task_loss(self.part(h, batch.mask_BS), batch.labels, self._task)

    def _train(self, anchors: list[Tensor], batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        if self._estimated is not None:
            if wants_gradient:
                raise ContractError(
                    "server_gradient: 'zeroth-order' has no gradient at the cut to send; use zo-loss or frozen clients"
                )
            return None, self._estimate(self._estimated, anchors, batch)
        if self._is_shared and not all(bool(h.isfinite().all()) for h in anchors):
            # Values that are not finite would enter the running statistics that all clients share.
            return torch.full_like(anchors[0], math.nan) if wants_gradient else None, math.nan
        gradient: Tensor | None = None
        losses: list[Tensor] = []
        for h in anchors:
            h_leaf = h.detach().requires_grad_(wants_gradient)
            with torch.enable_grad():
                loss = self._loss(h_leaf, batch)
                if loss.requires_grad:
                    (loss / len(anchors) if len(anchors) > 1 else loss).backward()  # type: ignore[no-untyped-call]
            gradient = None if h_leaf.grad is None else as_sent(h_leaf.grad)
            h_leaf.grad = None
            losses.append(loss.detach())
            del loss
        if self._is_shared and not all(
            bool(p.grad.isfinite().all()) for p in self.part.parameters() if p.grad is not None
        ):
            self.part.zero_grad(set_to_none=True)
            return gradient, math.nan
        if self._exact is not None:
            self._exact.step()
        values = host_floats(torch.stack(losses) if len(losses) > 1 else losses[0].view(1))
        return gradient, sum(values) / len(values)

    def _train_on_part(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Add the gradients of a micro-batch, and step along their mean after the last one."""
        assert self._exact is not None, "a server that estimates gradients takes whole batches"
        self._weights.append(weight_of(batch.labels, self._task))
        h_leaf = h.detach().requires_grad_(wants_gradient)
        with torch.enable_grad():
            output = self.part(h_leaf, batch.mask_BS)
            loss, weighed = loss_of(output, batch.labels, self._task, self._weights[-1])
            del output
            if loss.requires_grad:
                weighed.backward()  # type: ignore[no-untyped-call]
        gradient = None if h_leaf.grad is None else as_sent(h_leaf.grad)
        h_leaf.grad = None
        value = loss.detach()
        del loss, weighed
        if len(self._weights) == self._micro_batches:
            divide_gradients(self.part.parameters(), self._weights)
            self._exact.step()
        return gradient, host_floats(value.view(1))[0]

    def _estimate(self, descent: ScalarDescent, anchors: list[Tensor], batch: Batch) -> float:
        """Step along an estimated gradient; nothing is differentiated."""
        assert self._key is not None, "a zeroth-order server needs begin_step before it trains"

        def mean_loss() -> Tensor:
            return torch.stack([self._loss(h, batch) for h in anchors]).mean()

        def probe(perturbed: Perturbed) -> Tensor:
            with perturbed:
                return mean_loss()

        with torch.no_grad():
            clean = mean_loss() if self._settings.loss_sides == "one" else None
            found = estimate_from_losses(self.part.trainable(), self._key, self._settings, probe, clean)
            if self.part.num_trainable:
                descent.step(found.step)
        return found.loss

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start_s = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - start_s
