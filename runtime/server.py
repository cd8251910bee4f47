"""The server's side of a client: its own copy of the blocks above the cut (DESIGN section 7, ``per-client``)."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor

from runtime.optimizers import make_optimizer
from runtime.scalars import host_floats
from runtime.split import Part, task_loss
from runtime.wire import Batch
from scenarios.schema import Training


class ServerSide:
    """Forward, backward and update of one client's server copy.

    Parameters
    ----------
    part
        Blocks above the cut; with none of them the loss is computed on the device itself.
    training
        The scenario's training section.
    task
        The scenario's ``model.task``.
    """

    def __init__(self, part: Part, training: Training, task: str) -> None:
        self.part = part
        self.seconds = 0.0
        self._task = task
        parameters = [parameter for _, parameter in part.trainable()]
        self._optimizer = make_optimizer(training.optimizer, parameters) if parameters else None
        part.train()

    @property
    def trains_server(self) -> bool:
        """Whether there is a server part at all."""
        return len(self.part.blocks) > 0

    def begin_step(self) -> None:
        """Nothing is kept between requests."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Train the server part on smashed data.

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
        λ = ∂loss/∂h in the shape of ``h`` (None if not wanted), from the parameters before the update, and the loss.
        """
        start_s = perf_counter()
        h_leaf = h.detach().requires_grad_(wants_gradient)
        with torch.enable_grad():
            loss = task_loss(self.part(h_leaf, batch.mask_BS), batch.labels, self._task)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        if self._optimizer is not None:
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        value = host_floats(loss)[0]
        self.seconds += perf_counter() - start_s
        return h_leaf.grad, value

    def probe(self, h: Tensor, batch: Batch) -> Tensor:
        """Return the loss of perturbed smashed data, shape []; the part is in inference mode and stays as it was."""
        start_s = perf_counter()
        with torch.no_grad():
            self.part.eval()
            loss = task_loss(self.part(h, batch.mask_BS), batch.labels, self._task)
            self.part.train()
        self.seconds += perf_counter() - start_s
        return loss

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars to apply: directions are this client's own, so the average is over one client."""
        return scalars_P
