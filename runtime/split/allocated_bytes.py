"""Count a client's memory on a GPU as PyTorch's allocator does: whole blocks, and the workspaces of kernels.

The allocator's own counters speak of the whole process, in which a server part and other clients stand too. So they are
read whenever the client's work begins, pauses and ends: what was allocated then, beyond what is not the client's, is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor

from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.schema import Scenario

_ROUNDING_BYTES = 512
"""Least step of the sizes of the allocator's blocks."""


class AllocatedBytes(LiveBytes):  # type: ignore[no-untyped-call]
    """Tracks what a client's work takes of a GPU's memory, tensors and all.

    Parameters
    ----------
    device
        The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._is_inside = False
        self._is_fresh = True
        self._not_own_bytes = 0
        self._kept_bytes = 0

    def __enter__(self) -> Self:
        """Begin to count; the first time with an empty cache and no workspaces, as the client's own process would."""
        if self._is_fresh:
            self._is_fresh = False
            clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
            if clear is not None:
                clear()
            torch.cuda.empty_cache()
        super().__enter__()  # type: ignore[no-untyped-call]
        self._is_inside = True
        self._go_on()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop counting."""
        self._look()
        self._is_inside = False
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def track(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were born elsewhere but occupy this memory."""
        if self._is_inside:
            self._look()
        super().track(tensors)
        if self._is_inside:
            self._go_on()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is allocated inside: another machine's memory."""
        self._look()
        try:
            with super().paused():
                yield
        finally:
            self._go_on()

    def end_segment(self) -> None:
        """End a segment and begin another one."""
        self._look()
        super().end_segment()
        self._go_on()

    def _count(self, tensor: Tensor) -> None:
        if tensor.device.type == self._device.type:
            super()._count(tensor)

    def _born(self, key: int, size_bytes: int) -> Any:
        return super()._born(key, -(-size_bytes // _ROUNDING_BYTES) * _ROUNDING_BYTES)

    def _look(self) -> None:
        """Note the most that was allocated since the last look, and what is allocated beside tensors."""
        seen_bytes = torch.cuda.max_memory_allocated(self._device) - self._not_own_bytes
        self.peak_bytes = max(self.peak_bytes, seen_bytes)
        self._segment_bytes = max(self._segment_bytes, seen_bytes)
        now_bytes = torch.cuda.memory_allocated(self._device) - self._not_own_bytes
        self._kept_bytes = max(0, now_bytes - self.live_bytes)

    def _go_on(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)
        own_bytes = self.live_bytes + self._kept_bytes
        self._not_own_bytes = torch.cuda.memory_allocated(self._device) - own_bytes


def meter_of(computed_on: torch.device, scenario: Scenario, client: str) -> LiveBytes:
    """Return what measures a client's memory: as its device is planned, by the allocator or by live tensors.

    Parameters
    ----------
    computed_on
        Torch's device of the client part.
    scenario, client
        The scenario, and the client's name: its device says whether plans count what CUDA's allocator takes.
    """
    if computed_on.type != "cuda":
        return LiveBytes()
    device = next(one.device for one in scenario.expanded_clients() if one.id == client)
    counts_allocator = find_device(device, scenario.devices, f"client {client}").cuda is not None
    return AllocatedBytes(computed_on) if counts_allocator else LiveBytes()
