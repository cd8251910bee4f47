"""Least work as a function of memory: non-increasing steps, and the least of several such functions.

With ``m`` bytes the least work is a step function of ``m``: more memory helps at some amounts and at no others. Sums
and minima of such functions are step functions again, so that one function answers for every amount of memory at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.int64]
Works = NDArray[np.float64]
_RANK_SPAN = 1 << 32


@dataclass(frozen=True)
class Alternative:
    """One way to do something: the least work it takes from each of some amounts of memory on.

    Parameters
    ----------
    from_bytes
        Rising amounts of memory, shape ``(n,)``; below the first there is no way.
    work
        Falling work from each amount on, shape ``(n,)``.
    rank
        Which way this is; of ways with equal work the lowest rank is taken.
    """

    from_bytes: Bytes
    work: Works
    rank: int

    @staticmethod
    def single(from_bytes: int, work: float, rank: int) -> Alternative:
        """Return a way that takes the same work whatever the memory."""
        return Alternative(np.array([from_bytes], np.int64), np.array([work]), rank)


@dataclass(frozen=True)
class LeastWork:
    """The least work of several ways.

    Parameters
    ----------
    from_bytes, work
        As in :class:`Alternative`; each step does less work than the one before it.
    choice_from_bytes, choice
        From each amount on, the rank of the way to take.
    """

    from_bytes: Bytes
    work: Works
    choice_from_bytes: Bytes
    choice: NDArray[np.int64]

    def at(self, available_bytes: int) -> float:
        """Return the least work in as much memory; infinite where there is no way."""
        step = int(np.searchsorted(self.from_bytes, available_bytes, "right")) - 1
        return math.inf if step < 0 else float(self.work[step])

    def choice_at(self, available_bytes: int) -> int:
        """Return the rank of the way to take in as much memory.

        Raises
        ------
        ValueError
            If there is no way.
        """
        step = int(np.searchsorted(self.choice_from_bytes, available_bytes, "right")) - 1
        if step < 0:
            raise ValueError(f"there is no way in {available_bytes} bytes")
        return int(self.choice[step])

    def after(self, work: float, held_bytes: int, least_bytes: int, rank: int) -> Alternative | None:
        """Return the way that does some work, holds some memory, and then does this.

        Parameters
        ----------
        work, held_bytes
            What comes first, and what it holds from then on.
        least_bytes
            Memory that the way needs at least.
        rank
            Which way it is.
        """
        if not len(self.from_bytes):
            return None
        from_bytes = self.from_bytes + held_bytes
        begin = max(0, int(np.searchsorted(from_bytes, least_bytes, "right")) - 1)
        from_bytes = from_bytes[begin:]
        from_bytes[0] = max(int(from_bytes[0]), least_bytes)
        return Alternative(from_bytes, work + self.work[begin:], rank)


def one_then_other(
    work: float, first: LeastWork, held_bytes: int, second: LeastWork, least_bytes: int, rank: int
) -> Alternative | None:
    """Return the way that does some work, then one thing beside what is held, then another without it.

    Parameters
    ----------
    work
        Work before both.
    first, held_bytes
        What is done first, and the memory that is held meanwhile.
    second
        What is done after that, in all of the memory.
    least_bytes
        Memory that the way needs at least.
    rank
        Which way it is.
    """
    if not len(first.from_bytes) or not len(second.from_bytes):
        return None
    first_from = first.from_bytes + held_bytes
    begin = max(least_bytes, int(first_from[0]), int(second.from_bytes[0]))
    later = [amounts[np.searchsorted(amounts, begin, "right") :] for amounts in (first_from, second.from_bytes)]
    from_bytes = np.sort(np.concatenate([np.array([begin], np.int64), *later]))
    of_first = first.work[np.searchsorted(first_from, from_bytes, "right") - 1]
    of_second = second.work[np.searchsorted(second.from_bytes, from_bytes, "right") - 1]
    return Alternative(from_bytes, (work + of_first) + of_second, rank)


def least_of(alternatives: Iterable[Alternative]) -> LeastWork:
    """Return the least work of some ways; of equal ones, the way of the lowest rank."""
    ways = list(alternatives)
    if not ways:
        nothing = np.zeros(0, np.int64)
        return LeastWork(nothing, np.zeros(0), nothing, nothing)
    amounts = np.concatenate([way.from_bytes for way in ways])
    works = np.concatenate([way.work for way in ways])
    ranks = np.concatenate([np.full(len(way.work), way.rank, np.int64) for way in ways])
    by_amount = np.lexsort((ranks, works, amounts))
    amounts, works, ranks = amounts[by_amount], works[by_amount], ranks[by_amount]
    least = np.minimum.accumulate(works)
    # Of the points that reach the least work so far, the lowest rank since that work was first reached.
    level = np.cumsum(np.concatenate(([True], least[1:] < least[:-1])))
    reaching = np.where(works == least, ranks - level * _RANK_SPAN, np.iinfo(np.int64).max)
    choices = np.minimum.accumulate(reaching) + level * _RANK_SPAN
    is_last = np.concatenate((amounts[1:] != amounts[:-1], [True]))
    amounts, least, choices = amounts[is_last], least[is_last], choices[is_last]
    falls = np.concatenate(([True], least[1:] != least[:-1]))
    changes = np.concatenate(([True], falls[1:] | (choices[1:] != choices[:-1])))
    return LeastWork(amounts[falls], least[falls], amounts[changes], choices[changes])
