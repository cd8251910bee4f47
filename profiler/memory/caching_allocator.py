"""PyTorch's CUDA caching allocator, in so far as it decides how much memory counts as allocated.

Sizes are rounded up to 512 bytes and served, best fit, from segments: 2 MiB for sizes up to 1 MiB, 20 MiB below 10 MiB,
multiples of 2 MiB above. A block that is taken is split unless the rest is small (less than 512 bytes in a small
segment, at most 1 MiB in a large one), and what was not split off counts as allocated too: with a hundred mid-sized
tensors that is tens of MiB. Rules of PyTorch 2.13 with its default settings (one stream, no expandable segments);
``torch.cuda.max_memory_allocated`` is the figure meant.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

_MIB = 1 << 20
_ROUNDING_BYTES = 512
_LARGEST_SMALL_BYTES = 1 * _MIB
_SMALL_SEGMENT_BYTES = 2 * _MIB
_MIDDLE_SEGMENT_BYTES = 20 * _MIB
_SMALLEST_OWN_SEGMENT_BYTES = 10 * _MIB
_SEGMENT_ROUNDING_BYTES = 2 * _MIB


@dataclass(eq=False)
class AllocatorBlock:
    """A piece of a segment, with its neighbours in it."""

    segment: int
    start: int
    size_bytes: int
    is_small: bool
    is_free: bool = False
    before: AllocatorBlock | None = None
    after: AllocatorBlock | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        """Smallest first, then oldest segment and lowest address."""
        return self.size_bytes, self.segment, self.start


def _round_up(size_bytes: int, step_bytes: int) -> int:
    return -(-size_bytes // step_bytes) * step_bytes


@dataclass
class CachingAllocator:
    """One device's memory.

    Attributes
    ----------
    allocated_bytes, reserved_bytes
        Bytes in blocks that are taken, and in segments.
    """

    allocated_bytes: int = 0
    reserved_bytes: int = 0
    _num_segments: int = 0
    _free: dict[bool, list[tuple[tuple[int, int, int], AllocatorBlock]]] = field(
        default_factory=lambda: {True: [], False: []}
    )

    def allocate(self, size_bytes: int) -> AllocatorBlock | None:
        """Take a block; None for nothing at all."""
        if size_bytes == 0:
            return None
        wanted_bytes = _round_up(size_bytes, _ROUNDING_BYTES)
        is_small = wanted_bytes <= _LARGEST_SMALL_BYTES
        pool = self._free[is_small]
        position = bisect.bisect_left(pool, (wanted_bytes, -1, -1), key=lambda entry: entry[0])
        block = pool.pop(position)[1] if position < len(pool) else self._new_segment(wanted_bytes, is_small=is_small)
        rest_bytes = block.size_bytes - wanted_bytes
        if rest_bytes >= _ROUNDING_BYTES if is_small else rest_bytes > _LARGEST_SMALL_BYTES:
            self._split(block, wanted_bytes)
        block.is_free = False
        self.allocated_bytes += block.size_bytes
        return block

    def release(self, block: AllocatorBlock | None) -> None:
        """Give a block back; free neighbours in the same segment become one."""
        if block is None:
            return
        self.allocated_bytes -= block.size_bytes
        if block.before is not None and block.before.is_free:
            block = self._merge(block.before, block)
        if block.after is not None and block.after.is_free:
            block = self._merge(block, block.after)
        self._put_back(block)

    def _new_segment(self, wanted_bytes: int, *, is_small: bool) -> AllocatorBlock:
        if is_small:
            size_bytes = _SMALL_SEGMENT_BYTES
        elif wanted_bytes < _SMALLEST_OWN_SEGMENT_BYTES:
            size_bytes = _MIDDLE_SEGMENT_BYTES
        else:
            size_bytes = _round_up(wanted_bytes, _SEGMENT_ROUNDING_BYTES)
        self.reserved_bytes += size_bytes
        self._num_segments += 1
        return AllocatorBlock(self._num_segments, 0, size_bytes, is_small)

    def _split(self, block: AllocatorBlock, size_bytes: int) -> None:
        rest = AllocatorBlock(
            block.segment, block.start + size_bytes, block.size_bytes - size_bytes, block.is_small,
            before=block, after=block.after,
        )  # fmt: skip
        if block.after is not None:
            block.after.before = rest
        block.after, block.size_bytes = rest, size_bytes
        self._put_back(rest)

    def _merge(self, left: AllocatorBlock, right: AllocatorBlock) -> AllocatorBlock:
        """Join two neighbours, whichever of them are in the pool."""
        for block in (left, right):
            if block.is_free:
                pool = self._free[block.is_small]
                pool.pop(bisect.bisect_left(pool, block.order, key=lambda entry: entry[0]))
                block.is_free = False
        left.size_bytes += right.size_bytes
        left.after = right.after
        if right.after is not None:
            right.after.before = left
        return left

    def _put_back(self, block: AllocatorBlock) -> None:
        block.is_free = True
        bisect.insort(self._free[block.is_small], (block.order, block), key=lambda entry: entry[0])
