"""What work costs before any device is chosen: operators by class, and the work of a block.

Plain arrays and no model, so that a kept profile is read without the libraries that made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import NamedTuple

import numpy as np


class OperatorClass(IntEnum):
    """Classes of operators that reach different shares of a device's peaks."""

    MEMORY = 0
    """No products: elementwise work, normalisation, copies, gathers, sums."""
    RANDOM = 1
    """Draws normal random numbers, or words of random bits."""
    MATMUL = 2
    """Matrix products and attention."""
    CONVOLUTION = 3
    """Convolutions over all channels, both directions, except a 1x1 one's forward pass."""
    POINTWISE_FORWARD = 4
    """Forward pass of a 1x1 convolution over all channels."""
    GROUPED_FORWARD = 5
    """Forward pass of a grouped or depthwise convolution."""
    GROUPED_BACKWARD = 6
    """Backward pass of a grouped or depthwise convolution."""


PRODUCTS = frozenset(OperatorClass) - {OperatorClass.MEMORY, OperatorClass.RANDOM}
"""Classes whose floating-point operations are multiply-adds of the model."""

RANDOM_FLOPS_PER_ELEMENT = 300
"""Cost of a normal random number, or of a word of random bits, in units of peak arithmetic: a canonical generator is
serial, so that noise does not depend on the device. From one x86 core of 60 GFLOP/s that draws 200 million a second; an
assumption on devices that state no rate of their own."""


class OperatorKey(NamedTuple):
    """What operators must share to be counted together.

    Parameters
    ----------
    operator_class
        Its class.
    flops
        Floating-point operations.
    moved_bytes
        Sizes of inputs and outputs.
    unfolded_bytes
        Extra traffic where a convolution is carried out as a product of unfolded patches: each patch written and read.
    groups
        Groups of a convolution, 1 for all else.
    """

    operator_class: OperatorClass
    flops: float
    moved_bytes: float
    unfolded_bytes: float = 0.0
    groups: int = 1


@dataclass(frozen=True)
class OperatorCost:
    """Operators of a piece of work, alike ones counted together.

    Parameters
    ----------
    operator_class
        [N] values of :class:`OperatorClass`.
    flops
        [N] floating-point operations of each.
    moved_bytes, unfolded_bytes
        [N] bytes read and written by each, and the extra where patches are unfolded (see :class:`OperatorKey`).
    groups
        [N] groups of a convolution, 1 for all else.
    count
        [N] how often it occurs.
    """

    operator_class: np.ndarray
    flops: np.ndarray
    moved_bytes: np.ndarray
    unfolded_bytes: np.ndarray
    groups: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, counted: Counter[OperatorKey]) -> OperatorCost:
        """Build from a counter."""
        keys = list(counted)
        return cls(
            operator_class=np.array([key.operator_class for key in keys], dtype=np.int8),
            flops=np.array([key.flops for key in keys], dtype=float),
            moved_bytes=np.array([key.moved_bytes for key in keys], dtype=float),
            unfolded_bytes=np.array([key.unfolded_bytes for key in keys], dtype=float),
            groups=np.array([key.groups for key in keys], dtype=float),
            count=np.array([counted[key] for key in keys], dtype=float),
        )

    @classmethod
    def joined(cls, parts: Sequence[OperatorCost]) -> OperatorCost:
        """Return several pieces of work, one after the other, as one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def of_class(self, *classes: OperatorClass) -> np.ndarray:
        """[N] flags of the operators of some classes."""
        return np.isin(self.operator_class, [int(one) for one in classes])

    @property
    def total_flops(self) -> float:
        """Floating-point operations of matmul-class operators, all together."""
        return float((self.flops * self.count)[self.of_class(*PRODUCTS)].sum())

    @property
    def total_bytes(self) -> float:
        """Bytes moved, all together."""
        return float((self.moved_bytes * self.count).sum())


NO_WORK = OperatorCost.of(Counter())


@dataclass(frozen=True)
class BlockCost:
    """What one block costs a step.

    Parameters
    ----------
    forward
        Forward pass; with the loss, for the last block.
    backward, backward_without_input
        Backward pass with and without the gradient of the block's input (the lowest trained block needs none).
    update, server_update
        Step of the client's and of the server's optimizer, clipping included.
    perturbed_forward
        Forward pass with one perturbation direction, noise included.
    forward_mode
        Forward pass of dual numbers with one direction as tangents, noise included; None where the scenario does not
        use it.
    descend
        Moving the parameters along one direction, or adding it to the estimated gradient; noise included.
    estimated_update
        Step of the optimizer of estimated gradients; no work for plain SGD, which moves along directions.
    exchanged_bytes
        What travels between rounds: trained parameters and statistics.
    num_trainable
        Trained scalars.
    """

    forward: OperatorCost
    backward: OperatorCost
    backward_without_input: OperatorCost
    update: OperatorCost
    server_update: OperatorCost
    perturbed_forward: OperatorCost
    forward_mode: OperatorCost | None
    descend: OperatorCost
    estimated_update: OperatorCost
    exchanged_bytes: int
    num_trainable: int
