"""Levels of recomputation worth offering for a cut: from few kept inputs to all graphs kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from hybridsplit.profiler.memory.blocks import ChainMemory
from hybridsplit.profiler.memory.recompute import RecomputePlanner, TooManyPointsError
from hybridsplit.profiler.memory.recompute_bound import least_work_bound
from hybridsplit.profiler.memory.recompute_peaks import recompute_peak_bytes
from hybridsplit.profiler.memory.regular_orders import regular_orders
from hybridsplit.scenarios.contracts.recompute import (
    Action,
    RecomputeOrder,
    RecomputeStep,
    format_order,
    num_forwards,
    one_input_per_block,
)

_STEPS_DOWN = 3
_STEPS_UP = 4


@dataclass(frozen=True)
class RecomputeLevel:
    """One point of the curve of memory against recompute work.

    Parameters
    ----------
    recompute
        The recompute order as text.
    forwards
        How often each block below the cut runs forward.
    peak_bytes
        Peak of live tensor bytes of the client part.
    gap
        Forward work above a lower bound for as much memory, relative to the bound; 0 where the order is the exact
        programme's, which no order can better.
    """

    recompute: str
    forwards: tuple[int, ...]
    peak_bytes: int
    gap: float = 0.0


def recompute_levels(
    chain: ChainMemory, planner: RecomputePlanner, forward_cost: Sequence[float], cut: int, num_steps: int
) -> list[RecomputeLevel]:
    """Return the levels of a cut, least work first; none is worse than another in both memory and work.

    Memory is stepped from what running everything again from the lowest trained block takes, over what one kept input
    per block takes, to what keeping all graphs takes; at each step the order with the least work is found.
    Where the chain is too deep for that, the best of :func:`regular_orders` is taken.

    Parameters
    ----------
    chain, planner
        Memory of all blocks, and the planner for them.
    forward_cost
        Work of one forward of each block.
    cut
        A cut with something to train below it.
    num_steps
        Local steps of a round.
    """
    first = chain.first_trained(cut)
    marks = [
        recompute_peak_bytes(chain, cut, order, num_steps)
        for order in (_one_kept_input(cut, first), one_input_per_block(cut, first), _all_graphs(cut, first))
    ]
    standing_bytes = chain.standing_bytes(cut)
    amounts = {round(marks[0] + (marks[1] - marks[0]) * step / _STEPS_DOWN) for step in range(_STEPS_DOWN + 1)}
    amounts |= {round(marks[1] + (marks[2] - marks[1]) * step / _STEPS_UP) for step in range(_STEPS_UP + 1)}
    try:
        orders = [planner.cheapest(cut, amount - standing_bytes) for amount in sorted(amounts)]
        found = [_measured(chain, order, forward_cost, cut, num_steps) for order in orders if order is not None]
    except TooManyPointsError:
        regular = (_one_kept_input(cut, first), _all_graphs(cut, first), *regular_orders(cut, first))
        known = [_measured(chain, order, forward_cost, cut, num_steps) for order in regular]
        fitting = [[one for one in known if one[0].peak_bytes <= amount] for amount in sorted(amounts)]
        best = [min(some, key=lambda one: (one[1], one[0].peak_bytes)) for some in fitting if some]
        standing_bytes = chain.standing_bytes(cut, has_state=num_steps > 1)
        found = []
        for level, work in best:
            bound = least_work_bound(chain, forward_cost, cut, level.peak_bytes - standing_bytes)
            # A level is as good as the bound up to rounding, or it has a gap.
            gap = work / bound - 1 if work > bound * (1 + 1e-9) else 0.0
            found.append((dataclasses.replace(level, gap=gap), work))
    levels: list[RecomputeLevel] = []
    works: list[float] = []
    for level, work in found:
        # A level is kept only if the memory it adds saves work.
        if not works or work < works[-1] * (1 - 1e-9):
            levels.append(level)
            works.append(work)
    return levels[::-1]


def _measured(
    chain: ChainMemory, order: RecomputeOrder, forward_cost: Sequence[float], cut: int, num_steps: int
) -> tuple[RecomputeLevel, float]:
    """Return an order as a level, and its forward work."""
    counts = num_forwards(order)
    forwards = tuple(counts.get(i, 0) for i in range(1, cut + 1))
    work = sum(count * cost for count, cost in zip(forwards, forward_cost, strict=False))
    return RecomputeLevel(format_order(order), forwards, recompute_peak_bytes(chain, cut, order, num_steps)), work


def _one_kept_input(cut: int, first: int) -> RecomputeOrder:
    """Run everything again from the lowest trained block for every block."""
    frozen = [RecomputeStep(Action.ADVANCE, i) for i in range(1, first)]
    up = [RecomputeStep(Action.KEEP, first), *(RecomputeStep(Action.ADVANCE, i) for i in range(first + 1, cut + 1))]
    down: list[RecomputeStep] = []
    for i in range(cut, first - 1, -1):
        down += [RecomputeStep(Action.ADVANCE, j) for j in range(first, i)]
        down += [RecomputeStep(Action.GRAPH, i), RecomputeStep(Action.BACKWARD, i)]
    return (*frozen, *up, *down)


def _all_graphs(cut: int, first: int) -> RecomputeOrder:
    """Recompute nothing; the update is inside backward all the same."""
    frozen = [RecomputeStep(Action.ADVANCE, i) for i in range(1, first)]
    up = [RecomputeStep(Action.GRAPH, i) for i in range(first, cut + 1)]
    return (*frozen, *up, *(RecomputeStep(Action.BACKWARD, i) for i in range(cut, first - 1, -1)))
