"""Make a recorded program serve any batch size: two recordings show which numbers follow it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hybridsplit.runtime.models.traced.program import BatchSize, Program, Step, map_leaves
from hybridsplit.runtime.models.traced.record import UntraceableError


def for_any_batch_size(one: Program, other: Program, sizes: tuple[int, int]) -> Program:
    """Merge two recordings of a forward pass, made with two batch sizes.

    Parameters
    ----------
    one, other
        The recordings.
    sizes
        Their batch sizes, which differ by one, so that every whole number that differs is affine in the batch size
        with whole coefficients.

    Raises
    ------
    UntraceableError
        If the two do different things.
    """
    assert sizes[1] - sizes[0] == 1
    if len(one.steps) != len(other.steps):
        raise UntraceableError("what it computes depends on the batch size")
    steps = tuple(_merged(a, b, sizes[0]) for a, b in zip(one.steps, other.steps, strict=True))
    return replace(one, steps=steps)


def _merged(one: Step, other: Step, size: int) -> Step:
    if (one.kind, one.label, one.depends_on) != (other.kind, other.label, other.depends_on):
        raise UntraceableError(f"whether it calls {one.label} or {other.label} depends on the batch size")
    return replace(
        one,
        args=_merge(one.args, other.args, size, one),
        kwargs=_merge(one.kwargs, other.kwargs, size, one),
        shape=_merge(one.shape, other.shape, size, one),
    )


def _merge(one: Any, other: Any, size: int, step: Step) -> Any:
    values = iter(_flat(other))

    def merge(leaf: Any) -> Any:
        twin = next(values, None)
        if type(leaf) is int and type(twin) is int and leaf != twin:
            return BatchSize(twin - leaf, leaf - (twin - leaf) * size)
        if isinstance(leaf, float) and leaf != twin:
            raise UntraceableError(f"{step.label} takes {leaf}, which depends on the batch size")
        return leaf

    return map_leaves(one, merge)


def _flat(value: Any) -> list[Any]:
    found: list[Any] = []
    map_leaves(value, found.append)
    return found
