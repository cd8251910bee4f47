"""A pipeline over machines of a few types in any order: the shortest period, as PipeEdge (arXiv 2110.14895) plans it.

The state of the dynamic programme is the first blocks that are done and how many machines of each type they took, so it
has (L + 1)·Π(n_t + 1) states and tries every next machine and range: exact, O(L²·Π(n_t + 1)).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.chain.values import FloatArray


@dataclass(frozen=True)
class Pipeline:
    """The ranges of a pipeline.

    Parameters
    ----------
    period_s
        Longest that a machine or a link is busy with an item.
    stages
        Type of each machine, and the cuts before and behind its blocks.
    """

    period_s: float
    stages: tuple[tuple[int, int, int], ...]


def shortest_period(block_s: FloatArray, counts: Sequence[int], link_s: FloatArray) -> Pipeline:
    """Return the pipeline with the shortest period.

    Parameters
    ----------
    block_s
        [types, L] seconds of every block on a machine of every type.
    counts
        Machines of each type.
    link_s
        [L + 1] seconds that a link is busy at every cut.
    """
    num_types, num_blocks = block_s.shape
    before = np.concatenate([np.zeros((num_types, 1)), np.cumsum(block_s, axis=1)], axis=1)
    span = before[:, None, :] - before[:, :, None]
    span[:, np.tril(np.ones((num_blocks + 1, num_blocks + 1), dtype=bool))] = np.inf
    link_s = np.concatenate([[0.0], link_s[1:-1], [0.0]])
    best: dict[tuple[int, ...], FloatArray] = {}
    came: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
    start = np.full(num_blocks + 1, np.inf)
    start[0] = 0.0
    for used in sorted(itertools.product(*(range(count + 1) for count in counts)), key=sum):
        if not any(used):
            best[used] = start
            continue
        options = []
        for kind in range(num_types):
            below = tuple(number - (index == kind) for index, number in enumerate(used))
            reach = best[below] if used[kind] else np.full(num_blocks + 1, np.inf)
            options.append(np.maximum(np.maximum(reach, link_s)[:, None], span[kind]))
        tried = np.stack(options)
        flat = tried.reshape(-1, num_blocks + 1)
        origin = flat.argmin(axis=0)
        best[used] = flat[origin, np.arange(num_blocks + 1)]
        came[used] = (origin // (num_blocks + 1), origin % (num_blocks + 1))
    used = min(best, key=lambda state: (best[state][-1], sum(state)))
    return Pipeline(float(best[used][-1]), _walk_back(used, came, num_blocks))


def _walk_back(
    used: tuple[int, ...], came: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]], cut: int
) -> tuple[tuple[int, int, int], ...]:
    stages = []
    while cut > 0:
        kinds, cuts = came[used]
        kind, first = int(kinds[cut]), int(cuts[cut])
        stages.append((kind, first, cut))
        used = tuple(number - (index == kind) for index, number in enumerate(used))
        cut = first
    return tuple(reversed(stages))
