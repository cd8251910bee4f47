"""Recompute orders of a regular shape, for chains on which the exact programme takes too long.

The lowest blocks keep their graphs; the others are parted into runs of equal length whose first inputs are kept on the
way up. On the way down a run either builds all of its graphs at once (Chen et al., arXiv 1604.06174), or is parted into
shorter runs in the same way, down to one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hybridsplit.scenarios.contracts.recompute import Action, RecomputeOrder, RecomputeStep

Steps = list[RecomputeStep]

_PARTS = (2, 3, 4, 6, 9)


def regular_orders(cut: int, first: int) -> Iterator[RecomputeOrder]:
    """Yield orders from one kept input per block to a single run, with none to three quarters of all graphs kept.

    Parameters
    ----------
    cut
        Blocks of the client part.
    first
        The first block that has something to train.
    """
    num_trained = cut - first + 1
    lengths = sorted({round(num_trained ** (power / 8)) for power in range(9)})
    for quarters in range(4):
        lowest = first + num_trained * quarters // 4
        for length in lengths:
            if length <= cut - lowest + 1:
                yield _above_graphs(cut, first, lowest, _runs(lowest, cut, length, _all_graphs))
        for parts in _PARTS:
            yield _above_graphs(cut, first, lowest, _parted(lowest, cut, parts))


def _above_graphs(cut: int, first: int, lowest: int, steps: Steps) -> RecomputeOrder:
    """Keep the graphs of the trained blocks below ``lowest`` from the way up to the way down."""
    frozen = (RecomputeStep(Action.ADVANCE, i) for i in range(1, first))
    graphs = (RecomputeStep(Action.GRAPH, i) for i in range(first, lowest))
    backward = (RecomputeStep(Action.BACKWARD, i) for i in range(lowest - 1, first - 1, -1))
    return (*frozen, *graphs, *steps, *backward)


def _parted(start: int, end: int, parts: int) -> Steps:
    """Part blocks into runs, and each run again, down to one block."""
    length = -(-(end - start + 1) // parts)
    if start == end:
        return _all_graphs(start, end)
    return _runs(start, end, length, lambda low, high: _parted(low, high, parts))


def _runs(start: int, end: int, length: int, of_run: Callable[[int, int], Steps]) -> Steps:
    """Keep the input of every ``length``-th block, then treat the runs between them from the last to the first."""
    starts = range(start, end + 1, length)
    steps = [RecomputeStep(Action.KEEP if i in starts else Action.ADVANCE, i) for i in range(start, starts[-1])]
    for low in reversed(starts):
        steps += of_run(low, min(low + length - 1, end))
    return steps


def _all_graphs(start: int, end: int) -> Steps:
    up = [RecomputeStep(Action.GRAPH, i) for i in range(start, end + 1)]
    return [*up, *(RecomputeStep(Action.BACKWARD, i) for i in range(end, start - 1, -1))]
