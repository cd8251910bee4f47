"""The order of a machine's work in a step: what a warm-up depth means, for training and replay alike."""

from __future__ import annotations

from collections.abc import Iterator


def forward_turns(warm_up: int, micro_batches: int) -> Iterator[bool]:
    """Yield whether the next micro-batch runs forward: the warm-up first, then backward and forward in turn.

    Micro-batches of either direction come in ascending order.

    Parameters
    ----------
    warm_up
        Micro-batches that run forward before the first runs backward; at most ``micro_batches``.
    micro_batches
        Micro-batches of the step.
    """
    yield from [True] * warm_up
    for number in range(micro_batches):
        yield False
        if warm_up + number < micro_batches:
            yield True
