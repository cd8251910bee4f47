"""The blocks of one client on one machine: forward, backward and update, micro-batch by micro-batch.

Gradients of micro-batches are added in one order (:mod:`hybridsplit.runtime.relays.sums`), and divided once after the
last: that is the arithmetic of the number of micro-batches, wherever the model is cut, in whatever order machines work,
and however many of them share the micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import torch
from torch import Tensor

from hybridsplit.runtime.relays.messages import Downward, Swapped, Upward
from hybridsplit.runtime.relays.sums import GradientSums
from hybridsplit.runtime.split.link import as_sent
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.micro_batches import divide_gradients, loss_of, mean_loss, weight_of
from hybridsplit.runtime.split.optimizers import OptimizerState, PartOptimizer
from hybridsplit.runtime.split.parts import Part
from hybridsplit.runtime.split.scalars import host_floats
from hybridsplit.scenarios.schema import Training

MEASURED_STEPS = 2
"""Steps whose memory is measured: the first, in which the optimizer's state is born, and one that starts with it."""


class StageTraining:
    """One machine's part of a client's model in a round.

    Parameters
    ----------
    part
        Its blocks, trained in place; possibly none.
    training, task
        The scenario's training section in this round, and its ``model.loss_kind``.
    micro_batches
        Parts of a batch.
    trains_below
        Whether blocks of machines before this one are trained, which then need λ.
    computes_loss
        Whether no block comes after.
    measure_memory
        Whether to measure peak memory (slower).
    partial_sums
        Sums that gradients are added to.
    replica, replicas
        Which of the machines that hold the blocks this is, and how many there are.

    Attributes
    ----------
    losses
        Loss of every step, where it is computed.
    seconds
        Time of this machine's work on the emulating one.
    sent_bytes, returned_bytes, swapped_bytes
        What it has sent towards the server, back, and to other replicas.
    """

    def __init__(
        self,
        part: Part,
        training: Training,
        task: str,
        *,
        micro_batches: int,
        trains_below: bool,
        computes_loss: bool,
        measure_memory: bool,
        partial_sums: int = 1,
        replica: int = 0,
        replicas: int = 1,
    ) -> None:
        self.part = part
        self.losses: list[float] = []
        self.seconds = 0.0
        self.sent_bytes = self.returned_bytes = self.swapped_bytes = 0
        self._task, self._micro_batches = task, micro_batches
        self._trains_below, self._computes_loss = trains_below, computes_loss
        self._needs_graph = trains_below or part.num_trainable > 0
        self._optimizer = PartOptimizer(training.optimizer, part.trainable(), training.gradient_clip)
        self._sums = GradientSums(dict(part.trainable()), partial_sums, replica, replicas)
        self._meter = LiveBytes() if measure_memory else None
        self._in_flight: dict[int, tuple[Tensor, Tensor]] = {}
        self._weights: dict[int, float] = {}
        self._losses: dict[int, float] = {}
        self._steps_done = 0
        part.train(True)

    @property
    def peak_bytes(self) -> int | None:
        """Peak of live tensor bytes; None when it was not measured."""
        return None if self._meter is None else self._meter.peak_bytes

    @property
    def computes_loss(self) -> bool:
        """Whether no block comes after."""
        return self._computes_loss

    def hold(self, *tensors: Tensor | None) -> None:
        """Count tensors that this machine holds from now on."""
        if self._meter is not None:
            self._meter.track(tensor for tensor in tensors if tensor is not None)

    def forward(self, message: Upward) -> Upward | None:
        """Run a micro-batch forward.

        Parameters
        ----------
        message
            What arrived.

        Returns
        -------
        What goes on; None where the loss was computed.
        """
        with self._working():
            self.hold(message.h, message.labels, message.mask_BS)
            weight = 1.0 if self._micro_batches == 1 else weight_of(message.labels, self._task)
            self._weights[message.number] = weight
            x = message.h.detach().requires_grad_() if self._trains_below else message.h
            with torch.set_grad_enabled(self._needs_graph):
                h = self.part(x, message.mask_BS)
                if not self._computes_loss:
                    if self._needs_graph:
                        self._in_flight[message.number] = x, h
                    sent = Upward(message.number, as_sent(h.detach()), message.labels, message.mask_BS)
                    self.sent_bytes += sent.num_bytes
                    return sent
                loss, weighed = loss_of(h, message.labels, self._task, weight)
                self._losses[message.number] = host_floats(loss.detach().view(1))[0]
                if loss.requires_grad:
                    self._in_flight[message.number] = x, weighed
        return None

    def backward(self, message: Downward) -> Downward:
        """Run a micro-batch backward, and add its gradients to those before it.

        Parameters
        ----------
        message
            λ from the machine after; none of it where the loss is computed here, or nothing is trained here and below.

        Returns
        -------
        What goes back to the machine before.
        """
        with self._working():
            self.hold(message.gradient)
            found = self._in_flight.pop(message.number, None)
            if found is None:
                return Downward(message.number)
            x, top = found
            del found
            self._sums.begin(message.number)
            top.backward(message.gradient)  # type: ignore[no-untyped-call]
            self._sums.end()
            gradient = x.grad if self._trains_below else None
            x.grad = None
            returned = Downward(message.number, None if gradient is None else as_sent(gradient))
            self.returned_bytes += returned.num_bytes
            return returned

    def sum_up(self) -> None:
        """Add up the gradients of this machine's own micro-batches, after the last of a step."""
        with self._working():
            self._sums.together()

    def swapped(self, stride: int) -> Swapped:
        """Return what this machine has of the sum of gradients, for a replica.

        Parameters
        ----------
        stride
            How far apart the two are.
        """
        with self._working():
            sums = self._sums.current()
            message = Swapped(self._steps_done, stride, sums, dict(self._weights), dict(self._losses))
            self.swapped_bytes += message.num_bytes
            return message

    def add(self, message: Swapped) -> None:
        """Add what a replica has of the sum of gradients."""
        with self._working():
            self.hold(*message.gradients.values())
            self._sums.add(message.gradients)
            self._weights |= message.weights
            self._losses |= message.losses

    def update(self) -> None:
        """End a step: divide the sum of gradients, and let the optimizer take it."""
        with self._working():
            weights = [self._weights[number] for number in sorted(self._weights)]
            if self._micro_batches > 1:
                divide_gradients(self.part.parameters(), weights)
            self._optimizer.step()
            if self._losses:
                losses = [self._losses[number] for number in sorted(self._losses)]
                self.losses.append(mean_loss(losses, weights) if self._micro_batches > 1 else losses[0])
        self._weights.clear()
        self._losses.clear()
        self._steps_done += 1

    def optimizer_state(self) -> OptimizerState:
        """Return what the optimizer keeps between steps."""
        return self._optimizer.state()

    def load_optimizer_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that :meth:`optimizer_state` gave; entries of other parts are passed over."""
        self._optimizer.load_state(state)

    @contextmanager
    def _working(self) -> Iterator[None]:
        start_s = perf_counter()
        try:
            if self._meter is None or self._steps_done >= MEASURED_STEPS:
                yield
            else:
                self.hold(*self.part.parameters(), *self.part.buffers())
                with self._meter:
                    yield
        finally:
            self.seconds += perf_counter() - start_s
