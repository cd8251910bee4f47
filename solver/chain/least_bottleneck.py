"""Exact programmes whose value is a sum plus a multiple of the longest busy time.

For a limit β on busy times the least sum S(β) falls as β grows, and every choice whose longest busy time lies between
two limits costs at least the sum at the upper plus the multiple at the lower one. So intervals of candidate limits are
halved, and left where that bound is no better than the best choice found: the result is that of trying every one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hybridsplit.solver.chain.least_sum import least_sum
from hybridsplit.solver.chain.values import NOTHING, Chain, Choice, FloatArray, busy_seconds

Solve = Callable[[float], Choice]
"""The least sum with busy times up to a limit."""


def burst_of_items(chain: Chain, repeats: int) -> Choice:
    """Return the cuts with the least ``S + (m - 1)·max(busy)``: the time of m items, one after another, all alike.

    Parameters
    ----------
    chain
        The chain.
    repeats
        Items m.
    """
    if repeats == 1:
        return least_sum(chain)

    def solve(limit_s: float) -> Choice:
        return least_sum(chain, most_node_s=limit_s, most_link_s=limit_s)

    def longest_s(choice: Choice) -> float:
        return max(float(part.max(initial=0.0)) for part in busy_seconds(chain, choice.cuts))

    return sum_and_bottleneck(_candidates(chain.node_s, chain.up_s, chain.down_s), solve, longest_s, repeats - 1.0)


def least_period(chain: Chain) -> Choice:
    """Return the cuts whose longest busy time is least, and of those the ones with the least sum.

    Parameters
    ----------
    chain
        The chain.

    Returns
    -------
    Choice
        With the period as its value.
    """
    values = _candidates(chain.node_s, chain.up_s, chain.down_s)
    low, high = 0, len(values) - 1
    found = NOTHING
    while low <= high:
        middle = (low + high) // 2
        choice = least_sum(chain, most_node_s=values[middle], most_link_s=values[middle])
        if np.isfinite(choice.value_s):
            found, high = Choice(float(values[middle]), choice.cuts), middle - 1
        else:
            low = middle + 1
    return found


def sum_and_bottleneck(
    candidates: FloatArray, solve: Solve, longest_s: Callable[[Choice], float], multiple: float
) -> Choice:
    """Return the choice with the least sum plus a multiple of its longest busy time.

    Parameters
    ----------
    candidates
        [N] all busy times that may be the longest, rising.
    solve
        The least sum with busy times up to a limit.
    longest_s
        The longest busy time of a choice.
    multiple
        What the longest busy time counts.
    """
    if len(candidates) == 0:
        return solve(np.inf)
    best = NOTHING
    pending = [(0, len(candidates) - 1)]
    while pending:
        low, high = pending.pop()
        choice = solve(float(candidates[high]))
        if not np.isfinite(choice.value_s):
            continue
        longest = longest_s(choice)
        value = choice.value_s + multiple * longest
        if value < best.value_s:
            best = Choice(value, choice.cuts)
        # Choices with a longest time up to this one and not below it cost no less than this one.
        high = min(high, int(np.searchsorted(candidates, longest, side="left")) - 1)
        if high < low:
            continue
        middle = (low + high) // 2
        # All in (middle, high] have a sum of at least this one's, and a longest time above the middle.
        if middle < high and choice.value_s + multiple * float(candidates[middle + 1]) < best.value_s:
            pending.append((middle + 1, high))
        if choice.value_s + multiple * float(candidates[low]) < best.value_s:
            pending.append((low, middle))
    return best


def _candidates(*arrays: FloatArray) -> FloatArray:
    values: FloatArray = np.unique(np.concatenate([array.ravel() for array in arrays]))
    return np.asarray(values[np.isfinite(values)])
