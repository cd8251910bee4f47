"""One step of a client, with its memory measured where that is wanted."""

from __future__ import annotations

from hybridsplit.runtime.estimators import GradientEstimator, StepResult
from hybridsplit.runtime.estimators.micro_batches import MicroBatchSteps
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.head_on_client import HeadOnClient
from hybridsplit.runtime.split.link import Batch, MeteredLink, ServerLink
from hybridsplit.runtime.split.live_bytes import LiveBytes


def run_step(
    estimator: GradientEstimator | MicroBatchSteps,
    batch: Batch,
    link: ServerLink,
    key: NoiseKey,
    meter: LiveBytes | None,
) -> StepResult:
    """Run one step.

    Parameters
    ----------
    estimator, link
        The mode, or its steps on batches in parts, and the link to the server part.
    batch, key
        The step's mini-batch and noise key.
    meter
        Counts the client's memory: its part (parameters and buffers, frozen ones too) and the batch throughout. None to
        measure nothing.
    """
    link.begin_step(key)
    if isinstance(link, HeadOnClient):
        link.metered_by(meter)
    elif meter is not None and link.trains_server:
        link = MeteredLink(link, meter)
    if meter is None:
        return estimator.step(batch, link, key)
    meter.track([*estimator.part.parameters(), *estimator.part.buffers()])
    meter.track(tensor for tensor in (batch.inputs, batch.labels, batch.mask_BS) if tensor is not None)
    with meter:
        return estimator.step(batch, link, key)
