"""A client's steps that do not wait for their gradients, with its memory measured where it may be at its most."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from hybridsplit.runtime.estimators.overlapping import OverlappingSteps
from hybridsplit.runtime.estimators.scalar_steps import ScalarStep
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, MeteredLink, ServerLink
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.parts import Part

MEASURED_STEPS = 2
"""Steps whose memory is measured: the first, in which the optimizer's state is born, and one that starts with it."""


class AheadOfGradients:
    """The steps of a round in which forward passes do not wait for gradients.

    Parameters
    ----------
    steps
        How batches go forward and backward.
    part
        The client part.
    staleness
        Batches that go forward before a gradient is waited for.
    meter
        Counts the client's memory, in those steps in which it may be at its most; None to measure nothing.

    Attributes
    ----------
    scalars
        What a zeroth-order client has sent, batch by batch.
    """

    def __init__(self, steps: OverlappingSteps, part: Part, staleness: int, meter: LiveBytes | None) -> None:
        self._steps, self._part, self._meter = steps, part, meter
        # The first backward pass with the optimizer's state and as many old versions of the weights as there ever are.
        self._measured = max(MEASURED_STEPS, staleness + 1)
        self._measured_ahead = self._measured + staleness
        self._backward = 0
        self.scalars: list[ScalarStep] = []

    @property
    def measured_steps(self) -> int:
        """Forward passes after which no later one takes more memory, if the round has as many."""
        return self._measured_ahead

    def step(self, step: int, draw: Callable[[], Batch], link: ServerLink, key: NoiseKey) -> float:
        """Let a batch go forward, and the oldest one backward where it is due; return the batch's loss.

        Parameters
        ----------
        step, key
            The step within the round, and its noise key.
        draw
            Reads its batch from the client's data: now, and again where it goes backward with nothing kept.
        link
            The link to the server part.
        """
        link.begin_step(key)
        meter = self._meter if step < self._measured_ahead else None
        batch = draw()
        if meter is None:
            loss = self._steps.forward(batch, link, key, draw)
        else:
            meter.track([*self._part.parameters(), *self._part.buffers()])
            _hold(meter, batch)
            with meter:
                loss = self._steps.forward(batch, MeteredLink(link, meter), key, lambda: _hold(meter, draw()))
        del batch
        if self._steps.is_full:
            self._go_backward()
        return loss

    def drain(self) -> None:
        """Let all batches that are left go backward."""
        while self._steps.num_in_flight:
            self._go_backward()

    def _go_backward(self) -> None:
        is_measured = self._meter is not None and self._backward < self._measured
        with self._meter if self._meter is not None and is_measured else nullcontext():
            result = self._steps.backward()
        if result.scalars is not None:
            self.scalars.append(result.scalars.on_server())
        self._backward += 1


def _hold(meter: LiveBytes, batch: Batch) -> Batch:
    """Count a batch, and return it."""
    meter.track(tensor for tensor in (batch.inputs, batch.labels, batch.mask_BS) if tensor is not None)
    return batch
