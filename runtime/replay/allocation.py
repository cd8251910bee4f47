"""Rules by which a resource is divided among those who want it at a time.

Each is the limit of a scheduler of small slots and blocks: what matters is the part of its time, or of its blocks, that
each client has. Between two changes of who wants it, and of what each could carry alone, parts are constant.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

_SAME = 1e-6
"""Averages over rates within it of each other are tied: they are fractions of the time."""


class Parts(NamedTuple):
    """What each has of the resource.

    Parameters
    ----------
    of_each
        [K] fractions; at most 1 together.
    lasts_s
        How long they stay so while nothing else changes; infinity for ever.
    """

    of_each: FloatArray
    lasts_s: float


class Rule(ABC):
    """Divides a resource."""

    @abstractmethod
    def parts(self, clients: IndexArray, speeds: FloatArray, resolution_s: float = 0.0) -> Parts:
        """Return the parts of those who want the resource.

        Parameters
        ----------
        clients
            [K] who, in the order in which they came; at least one.
        speeds
            [K] what each would get done in a second with the whole resource, 0 where nothing: who can use nothing gets
            nothing.
        resolution_s
            What the clock can tell apart.
        """

    def went_on(self, clients: IndexArray, parts: FloatArray, speeds: FloatArray, seconds: float) -> None:  # noqa: B027
        """Note that time has passed in which these had these parts.

        Parameters
        ----------
        clients, parts, speeds
            [K] as of :meth:`parts`; empty where nobody wanted the resource.
        seconds
            How long.
        """


class FirstCome(Rule):
    """The first that came has all of it until it is done (FCFS, without preemption)."""

    def parts(self, clients: IndexArray, speeds: FloatArray, resolution_s: float = 0.0) -> Parts:
        """Return everything for the first that can use it."""
        found = np.zeros(len(clients))
        if speeds.any():
            found[int(np.argmax(speeds > 0))] = 1.0
        return Parts(found, math.inf)


class EqualParts(Rule):
    """Everybody has as much as everybody else: processor sharing, and round robin over slots or blocks."""

    def parts(self, clients: IndexArray, speeds: FloatArray, resolution_s: float = 0.0) -> Parts:
        """Return equal parts of those who can use them."""
        can = speeds > 0
        return Parts(can / max(1, int(can.sum())), math.inf)


class EqualRates(Rule):
    """Everybody gets as much done as everybody else, the most that is possible (max-min fairness)."""

    def parts(self, clients: IndexArray, speeds: FloatArray, resolution_s: float = 0.0) -> Parts:
        """Return parts in proportion to the time that each needs for the same."""
        needed_s = np.zeros(len(clients))
        np.divide(1.0, speeds, out=needed_s, where=speeds > 0)
        total_s = float(needed_s.sum())
        return Parts(needed_s / total_s if total_s > 0 else needed_s, math.inf)


class ProportionalFair(Rule):
    """The one with the largest rate of the moment over its exponentially averaged past rate has all of it.

    In the limit of small slots several are tied for that, and have equal parts. With ``v = T / R``, the average over
    the rate of the moment, the smallest ``v`` are served: over a time ``t``, with ``n`` served from ``v0``, theirs
    becomes ``1/n + (v0 - 1/n) exp(-t/tau)`` and that of all others ``v exp(-t/tau)``, so that the next one is tied
    after ``tau log(1 + n (v - v0))``. The rule is that of Viswanath, Tse and Laroia (2002); the limit is derived here.

    Parameters
    ----------
    num_clients
        How many clients there are in all.
    averaging_s
        Time constant tau of the average: slots over which it is taken, times the length of one. Time in which a client
        wants nothing counts as rate zero.
    """

    def __init__(self, num_clients: int, averaging_s: float) -> None:
        self._average = np.zeros(num_clients)
        self._averaging_s = averaging_s

    def parts(self, clients: IndexArray, speeds: FloatArray, resolution_s: float = 0.0) -> Parts:
        """Return equal parts of those that are tied for the smallest average over rate."""
        satisfied = np.full(len(clients), math.inf)
        np.divide(self._average[clients], speeds, out=satisfied, where=speeds > 0)
        lowest = float(satisfied.min())
        if math.isinf(lowest):
            return Parts(np.zeros(len(clients)), math.inf)
        # What is nearer than the clock can tell apart would never be reached.
        served = satisfied <= lowest + max(_SAME, 8.0 * resolution_s / self._averaging_s)
        number = int(served.sum())
        others = satisfied[~served]
        gap = float(others.min()) - lowest if len(others) else math.inf
        lasts_s = self._averaging_s * math.log1p(number * gap) if gap < math.inf else math.inf
        return Parts(served / number, lasts_s)

    def went_on(self, clients: IndexArray, parts: FloatArray, speeds: FloatArray, seconds: float) -> None:
        """Average over the time that has passed."""
        fresh = -math.expm1(-seconds / self._averaging_s)
        self._average *= 1.0 - fresh
        if len(clients):
            self._average[clients] += fresh * parts * speeds
