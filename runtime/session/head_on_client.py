"""The client's head in a split in three parts: the last blocks and the loss, beside the client part.

To the mode that trains the client part it is the other side: smashed data go in, λ and the loss come out. In between
it asks the server's middle for features, trains the head on them, and sends their gradient up (parallel hybrid
federated split learning, arXiv 2209.02428; the order of a step is our reconstruction).
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import torch
from torch import Tensor

from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, as_sent
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.optimizers import OptimizerState, PartOptimizer
from hybridsplit.runtime.split.parts import Part, State, task_loss
from hybridsplit.runtime.split.scalars import host_floats
from hybridsplit.runtime.split.three_part_link import MeteredMiddle, MiddleLink
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Training


class HeadOnClient:
    """Forward, backward and update of the head on the client, and what it asks of the middle.

    Attributes
    ----------
    seconds
        Spent on the head itself.

    Parameters
    ----------
    part
        The last blocks.
    middle
        The link to the blocks before them.
    training
        The scenario's training section.
    task
        The scenario's ``model.loss_kind``.
    middle_trains
        Whether the middle has trainable parameters: its gradient is asked for then even where the client's is not.
    """

    def __init__(self, part: Part, middle: MiddleLink, training: Training, task: str, *, middle_trains: bool) -> None:
        self.part = part
        self.seconds = 0.0
        self._middle, self._task, self._middle_trains = middle, task, middle_trains
        self._optimizer = PartOptimizer(training.optimizer, part.trainable(), training.gradient_clip)
        self._meter: LiveBytes | None = None
        part.train(True)

    @property
    def trains_server(self) -> bool:
        """True: the middle is remote."""
        return True

    def metered_by(self, meter: LiveBytes | None) -> None:
        """Count the head and what it computes as the client's memory from now on; None to count nothing."""
        self._meter = meter
        if meter is not None:
            meter.track([*self.part.parameters(), *self.part.buffers()])

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step; nothing here is random."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Train middle and head on smashed data.

        Parameters
        ----------
        h
            Smashed data, shape of the activation at the cut.
        batch
            Labels, which stay here, and mask.
        wants_gradient
            Whether the client part needs λ.

        Returns
        -------
        λ in the shape of ``h`` (None if not wanted), from the parameters before the update, and the loss.
        """
        middle = self._middle if self._meter is None else MeteredMiddle(self._middle, self._meter)
        features = middle.features(h, batch.mask_BS, wants_gradient=wants_gradient)
        is_asked = wants_gradient or self._middle_trains
        loss, of_features = self._train(features, batch, is_asked)
        del features
        return (None if of_features is None else middle.gradient(of_features)), loss

    def _train(self, features: Tensor, batch: Batch, wants_gradient: bool) -> tuple[float, Tensor | None]:
        start_s = perf_counter()
        leaf = features.detach().requires_grad_(wants_gradient)
        with torch.enable_grad():
            loss = task_loss(self.part(leaf, batch.mask_BS), batch.labels, self._task)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        of_features = None if leaf.grad is None else as_sent(leaf.grad)
        leaf.grad = None
        value = loss.detach()
        del loss, leaf
        self._optimizer.step()
        (found,) = host_floats(value.view(1))
        self.seconds += perf_counter() - start_s
        return found, of_features

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Refuse to return a loss, shape []: modes that ask for losses train without a head on the client.

        Raises
        ------
        ContractError
            Always.
        """
        raise _wrong_mode()

    def exact_kept(self, batch: Batch) -> float:
        """Refuse, as :meth:`probe`.

        Raises
        ------
        ContractError
            Always.
        """
        raise _wrong_mode()

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Refuse, as :meth:`probe`; scalars and seeds are [P].

        Raises
        ------
        ContractError
            Always.
        """
        raise _wrong_mode()

    def exchanged(self) -> State:
        """Return what of the head travels between rounds."""
        return self.part.exchanged()

    def optimizer_state(self) -> OptimizerState:
        """Return what the optimizer keeps between steps."""
        return self._optimizer.state()

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`optimizer_state` gave; entries of other parts are passed over."""
        self._optimizer.load_state(state)


def _wrong_mode() -> ContractError:
    return ContractError(
        "with the head on the client the server knows no loss; this mode asks for one: use fo, fo-recompute or frozen, "
        "or head_blocks: 0"
    )
