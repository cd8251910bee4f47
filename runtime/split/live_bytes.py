"""Count live tensor bytes while tensors are computed, real ones or shapes on the meta device.

One small dispatch mode serves both the prediction (on the meta device) and the measurement (in the run). It counts
storages, not tensors, so views are free, and forgets a storage when it is freed. Workspace inside a kernel is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter

from hybridsplit.runtime.split.dispatch import PlainDispatch


class LiveBytes(PlainDispatch):
    """Tracks the bytes of live storages born inside the mode, or given to :meth:`track`.

    Attributes
    ----------
    live_bytes
        Bytes alive now.
    peak_bytes
        Largest ``live_bytes`` so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = 0
        self.peak_bytes = 0
        self._segments: list[int] = []
        self._segment_bytes = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._paused = False
        # On the meta device tensors are shapes: they count as memory only where shapes are traced.
        self._of_shapes: bool | None = None

    def begin_segments(self) -> None:
        """Begin to note the peak of every segment that :meth:`end_segment` ends."""
        self._segments, self._segment_bytes = [], self.live_bytes

    def end_segment(self) -> None:
        """End a segment and begin another one."""
        self._segments.append(self._segment_bytes)
        self._segment_bytes = self.live_bytes

    @property
    def segment_peaks(self) -> tuple[int, ...]:
        """Peaks of all segments so far, that which goes on included."""
        return (*self._segments, self._segment_bytes)

    def track(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were born elsewhere but occupy this memory."""
        for tensor in tensors:
            self._count(tensor)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is born inside: another machine's memory."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._paused:
            self._count_results(func, result)
        return result

    def _count_results(self, func: Any, result: Any) -> None:
        if func.namespace == "prims":
            # Forward mode works out the shape of a sum with zero this way; nothing is stored.
            return
        for leaf in tree_iter(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)

    def _count(self, tensor: Tensor) -> None:
        if self._of_shapes is None:
            self._of_shapes = tensor.is_meta
        if tensor._is_zerotensor() or (tensor.is_meta and not self._of_shapes):
            return
        storage = tensor.untyped_storage()
        key = id(storage)
        known = self._known.get(key)
        if known is not None and known() is storage:
            return
        block = self._born(key, storage.nbytes())

        def forget(reference: weakref.ref[torch.UntypedStorage]) -> None:
            if self._known.get(key) is reference:
                del self._known[key]
            self._freed(block)

        self._known[key] = weakref.ref(storage, forget)

    def _born(self, key: int, size_bytes: int) -> Any:
        """Take memory for a storage known by ``key`` while it lives; return what to give back."""
        self.live_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        self._segment_bytes = max(self._segment_bytes, self.live_bytes)
        return size_bytes

    def _freed(self, block: Any) -> None:
        """Give back what :meth:`_born` returned."""
        self.live_bytes -= block
