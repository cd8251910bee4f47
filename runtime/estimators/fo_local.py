"""``fo-local``: exact gradients of the loss of an auxiliary head; no gradient comes down."""

from __future__ import annotations

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult
from hybridsplit.runtime.estimators.local_losses import LocalLosses
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.optimizers import NamedOptimizer, PartOptimizer
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.schema import Training


class FirstOrderLocal(GradientEstimator):
    """Forward, local loss, backward, update; smashed data go up in every ``upload_every``-th step (arXiv 2307.11532).

    Parameters
    ----------
    part, training
        As for every mode; the part has an auxiliary head.
    upload_every
        Steps from one upload to the next; the first of a round always sends.
    """

    keeps_batch_statistics = True

    def __init__(self, part: Part, training: Training, upload_every: int = 1) -> None:
        super().__init__(part, training)
        self._local = LocalLosses(part, upload_every)
        self._optimizer = PartOptimizer(training.optimizer, part.trainable(), training.gradient_clip)

    @property
    def _kept_by(self) -> NamedOptimizer:
        return self._optimizer

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Smashed data up where it is their turn; then the client's own step, which waits for nothing."""
        h = self.part(batch.inputs, batch.mask_BS)
        self._local.send(h.detach(), batch, link, key)
        loss = self._local.of(h, batch)
        del h
        value = loss.detach()
        loss.backward()  # type: ignore[no-untyped-call]
        del loss
        self._optimizer.step()
        return StepResult(self._local.reported(float(value)))
