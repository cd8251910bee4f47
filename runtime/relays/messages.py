"""What machines send to each other: activations towards the server, gradients back, and sums between replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.micro_batches import parts_of


@dataclass(frozen=True)
class Upward:
    """A micro-batch on its way to the server.

    Parameters
    ----------
    number
        Which of the step, from 0.
    h
        The samples, or the activation of the blocks before: any shape, the batch first.
    labels
        Of its samples: they go with it to where the loss is computed.
    mask_BS
        Attention mask; None where nothing is padded.
    """

    number: int
    h: Tensor
    labels: Tensor
    mask_BS: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Payload that crosses a link."""
        return sum(tensor.nbytes for tensor in (self.h, self.labels, self.mask_BS) if tensor is not None)

    def carried(self) -> Upward:
        """Return it as it arrives: copies, in row-major order."""
        return Upward(
            self.number, _copy(self.h), _copy(self.labels), None if self.mask_BS is None else _copy(self.mask_BS)
        )


@dataclass(frozen=True)
class Downward:
    """The gradient of a micro-batch on its way to the client.

    Parameters
    ----------
    number
        Which of the step.
    gradient
        λ = ∂loss/∂h in the shape of ``h``, of this micro-batch alone; None where nothing below is trained, so that no
        tensor crosses.
    """

    number: int
    gradient: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Payload that crosses a link."""
        return 0 if self.gradient is None else self.gradient.nbytes

    def carried(self) -> Downward:
        """Return it as it arrives: a copy, in row-major order."""
        return Downward(self.number, None if self.gradient is None else _copy(self.gradient))


@dataclass(frozen=True)
class Swapped:
    """What a replica has of the sum of gradients, on its way to another one.

    Parameters
    ----------
    step
        Of the round, from 0.
    stride
        How far apart the two are.
    gradients
        By parameter name.
    weights, losses
        Of the micro-batches that are in it, by number: what they weigh, and their loss where it is computed.
    """

    step: int
    stride: int
    gradients: Mapping[str, Tensor]
    weights: Mapping[int, float]
    losses: Mapping[int, float]

    @property
    def num_bytes(self) -> int:
        """Payload that crosses from one replica to the other."""
        return sum(tensor.nbytes for tensor in self.gradients.values())

    def carried(self) -> Swapped:
        """Return it as it arrives: copies, in row-major order."""
        copies = {name: _copy(tensor) for name, tensor in self.gradients.items()}
        return Swapped(self.step, self.stride, copies, dict(self.weights), dict(self.losses))


Message = Upward | Downward | Swapped


def micro_batches_of(batch: Batch, number: int) -> list[Upward]:
    """Return the equal parts of a batch as messages, in order.

    Parameters
    ----------
    batch
        A step's mini-batch.
    number
        How many; it divides the batch.
    """
    parts = enumerate(parts_of(batch, number))
    return [Upward(index, part.inputs, part.labels, part.mask_BS) for index, part in parts]


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)
