"""What the blocks of a model cost on every kind of device: what placements over relays are planned and checked from.

Plain arrays: neither planner nor verification sees a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class MicroBatchCosts:
    """Costs of one micro-batch.

    Parameters
    ----------
    forward_s, backward_s
        [L] seconds of every block on the whole of a device, by device; backward is 0 below the lowest trained block,
        and everywhere where nothing is trained.
    sent_bytes
        [L + 1] what crosses a link towards the server at cut 0 to L: 0 at L, and the samples at 0. Labels and mask are
        part of it where the loss is computed.
    returned_bytes
        [L + 1] what crosses back: the gradient of the smashed data.
    kept_bytes
        [L] what a block keeps of a micro-batch from forward to backward, its output included.
    running_bytes
        [L] largest excess while a block runs, in either direction.
    """

    forward_s: Mapping[str, FloatArray]
    backward_s: Mapping[str, FloatArray]
    sent_bytes: IntArray
    returned_bytes: IntArray
    kept_bytes: IntArray
    running_bytes: IntArray


@dataclass(frozen=True)
class RelayCosts:
    """Costs of all blocks.

    Parameters
    ----------
    kinds
        [L] kinds of the blocks, for people.
    by_micro_batches
        Costs of a micro-batch by the number of micro-batches of a step.
    update_s
        [L] seconds of the optimizer's step on the whole of a device, by device; once a step.
    standing_bytes
        [L] parameters and buffers.
    trained_bytes
        [L] gradients and optimizer state.
    gradient_bytes
        [L] gradients alone: what each further sum of them takes, and what replicas exchange.
    exchanged_bytes
        [L] what is sent of a block before and after a round; 0 where nothing is trained.
    batch_bytes
        Samples and labels of a whole batch, which the client holds.
    """

    kinds: tuple[str, ...]
    by_micro_batches: Mapping[int, MicroBatchCosts]
    update_s: Mapping[str, FloatArray]
    standing_bytes: IntArray
    trained_bytes: IntArray
    gradient_bytes: IntArray
    exchanged_bytes: IntArray
    batch_bytes: int

    @property
    def num_blocks(self) -> int:
        """Number of blocks L."""
        return len(self.kinds)
