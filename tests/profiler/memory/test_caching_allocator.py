"""The allocator's rules by example, and its invariants on any sequence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.profiler.memory.caching_allocator import CachingAllocator

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("size", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB + 1, 12 * MIB, 12 * MIB),
    ],
)
def test_one_size_alone(size: int, allocated: int, reserved: int) -> None:
    """Small, middle and own segments; what is at most 1 MiB is not split off a large one."""
    allocator = CachingAllocator()
    allocator.allocate(size)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (allocated, reserved)


def test_a_rest_of_at_most_a_mebibyte_counts_as_allocated() -> None:
    allocator = CachingAllocator()
    allocator.release(allocator.allocate(12 * MIB))
    allocator.allocate(11 * MIB)
    assert allocator.allocated_bytes == 12 * MIB
    assert allocator.reserved_bytes == 12 * MIB


def test_best_fit_takes_the_smallest_block_that_does() -> None:
    allocator = CachingAllocator()
    blocks = [allocator.allocate(size * MIB) for size in (40, 12, 30)]
    for block in blocks:
        allocator.release(block)
    allocator.allocate(12 * MIB)
    assert allocator.allocated_bytes == 12 * MIB
    allocator.allocate(30 * MIB)
    assert allocator.allocated_bytes == 42 * MIB
    assert allocator.reserved_bytes == 82 * MIB


def test_neighbours_that_are_free_become_one() -> None:
    allocator = CachingAllocator()
    first, second = allocator.allocate(4 * MIB), allocator.allocate(4 * MIB)
    third = allocator.allocate(4 * MIB)
    allocator.release(first)
    allocator.release(third)
    allocator.release(second)
    allocator.allocate(9 * MIB)
    assert allocator.reserved_bytes == 20 * MIB


def test_nothing_takes_nothing() -> None:
    allocator = CachingAllocator()
    allocator.release(allocator.allocate(0))
    assert allocator.allocated_bytes == allocator.reserved_bytes == 0


@given(st.lists(st.tuples(st.integers(1, 30 * MIB), st.booleans()), max_size=60))
def test_invariants_of_any_sequence(requests: list[tuple[int, bool]]) -> None:
    """Never less than asked, never more than 1 MiB too much a block, never more than reserved, and all comes back."""
    allocator = CachingAllocator()
    live = []
    for size, releases in requests:
        live.append((allocator.allocate(size), size))
        if releases:
            allocator.release(live.pop(size % len(live))[0])
        asked = sum(size for _, size in live)
        assert asked <= allocator.allocated_bytes <= asked + len(live) * (MIB + 512)
        assert allocator.allocated_bytes <= allocator.reserved_bytes
    reserved = allocator.reserved_bytes
    for block, _ in live:
        allocator.release(block)
    assert allocator.allocated_bytes == 0
    assert allocator.reserved_bytes == reserved
