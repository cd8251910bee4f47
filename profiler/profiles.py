"""All that choices cost on no device in particular: the values that profiling finds and the cache keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hybridsplit.profiler.costs import BlockCost
from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.scenarios.modes import TrainingMode

OnProgress = Callable[[str, float], None]


class Choice(NamedTuple):
    """A cut, a mode, a recompute order, how far steps overlap, which steps send, head blocks and micro-batches."""

    cut: int
    mode: str
    recompute: str = ""
    staleness: int = 0
    upload_every: int = 1
    head_blocks: int = 0
    micro_batches: int = 1


class FallOrder(NamedTuple):
    """A recompute order with a drop at the exchange: a way to finish a step in less memory than it was begun with.

    Parameters
    ----------
    recompute
        The order as text.
    forwards
        How often each block below the cut runs forward.
    peak_bytes
        Peak of live tensor bytes from the drop on.
    """

    recompute: str
    forwards: tuple[int, ...]
    peak_bytes: int


@dataclass(frozen=True)
class BatchProfile:
    """All that does not depend on how fast a device is, at one batch size.

    Parameters
    ----------
    smashed_bytes
        Bytes ``A`` of the activation behind blocks 1 to L, per step; 0 behind the last, which nothing crosses.
    cuts
        Valid cuts, 1 to L.
    costs
        Per block.
    client_peak_bytes
        Client peak of live tensor bytes by choice; its keys are the choices that exist.
    server_peak_bytes
        Peak of a client's server copy by cut, mode and numbers of head blocks and of micro-batches.
    forwards
        How often each block below the cut runs forward, for choices that recompute.
    label_bytes, mask_bytes, row_id_bytes
        Bytes of the labels of a batch, of its attention mask, and of its token ids.
    row_ids_needed
        Cuts and modes whose zeroth-order update needs token ids at the server.
    cuda_peak_bytes
        Client peaks on CUDA devices that a scenario names, by device and choice.
    falls
        Ways down from the levels of ``fo-recompute`` within a step, where the memory of a client moves.
    heads
        Costs of the auxiliary head behind each block but the last; empty where no mode has one.
    recompute_gaps
        Forward work of an order above a lower bound, relative, for choices on chains too deep for the exact programme.
    costs_of_parts
        Per block, of one micro-batch, by the number of them that are on offer.
    """

    smashed_bytes: tuple[int, ...]
    cuts: tuple[int, ...]
    costs: tuple[BlockCost, ...]
    client_peak_bytes: dict[Choice, int]
    server_peak_bytes: dict[tuple[int, str, int, int], int]
    forwards: dict[Choice, tuple[int, ...]]
    label_bytes: int
    mask_bytes: int
    row_id_bytes: int
    row_ids_needed: frozenset[tuple[int, str]]
    cuda_peak_bytes: dict[CudaMemory, dict[Choice, int]] = field(default_factory=dict)
    falls: dict[Choice, tuple[FallOrder, ...]] = field(default_factory=dict)
    recompute_gaps: dict[Choice, float] = field(default_factory=dict)
    heads: tuple[BlockCost, ...] = ()
    costs_of_parts: dict[int, tuple[BlockCost, ...]] = field(default_factory=dict)

    @property
    def num_blocks(self) -> int:
        """Number of blocks L."""
        return len(self.costs)

    def num_trainable_below(self, cut: int) -> int:
        """Trainable scalars of the model below a cut."""
        return sum(cost.num_trainable for cost in self.costs[:cut])

    def num_trainable_of(self, cut: int, mode: TrainingMode) -> int:
        """Trainable scalars of a client part, with its auxiliary head where the mode has one."""
        head = self.heads[cut - 1].num_trainable if mode.has_local_head else 0
        return self.num_trainable_below(cut) + head

    def exchanged_bytes(self, cut: int, prefix_blocks: int, mode: TrainingMode) -> int:
        """Bytes of a client part that travel between rounds: all but those of blocks that are never sent again."""
        head = self.heads[cut - 1].exchanged_bytes if mode.has_local_head else 0
        return sum(cost.exchanged_bytes for cost in self.costs[prefix_blocks:cut]) + head

    def recomputes(self, choice: Choice) -> bool:
        """Whether a choice is other than ``fo`` in work: all but the orders that run every block once."""
        return choice not in self.forwards or max(self.forwards[choice]) > 1

    def peaks_on(self, cuda: CudaMemory | None) -> dict[Choice, int]:
        """Return the client peaks on a kind of device.

        Raises
        ------
        KeyError
            If that CUDA device was not profiled.
        """
        return self.client_peak_bytes if cuda is None else self.cuda_peak_bytes[cuda]


@dataclass(frozen=True)
class ModelProfile:
    """All that does not depend on how fast a device is.

    Parameters
    ----------
    split
        Share of the squared gradient norm per block.
    by_batch_size
        What depends on the batch, smallest first.
    noise_scale
        Gradient noise scale, samples; None where it was not measured.
    kept
        Per block, the share of its squared gradient in entries that a step changes at all, for parameters that are
        trained in half precision; None where no step is lost.
    """

    split: np.ndarray
    by_batch_size: dict[int, BatchProfile]
    noise_scale: float | None = None
    kept: np.ndarray | None = None

    def kept_below(self, cut: int) -> float:
        """Share of the gradient of blocks ``1..cut`` that their steps keep."""
        return self._kept(slice(0, cut))

    def kept_above(self, cut: int) -> float:
        """Share of the gradient of the blocks above a cut that their steps keep."""
        return self._kept(slice(cut, None))

    def _kept(self, blocks: slice) -> float:
        if self.kept is None:
            return 1.0
        share = float(self.split[blocks].sum())
        return float((self.split * self.kept)[blocks].sum()) / share if share > 0 else 1.0
