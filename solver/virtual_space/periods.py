"""Periods of choices, frames in them, and what a search returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import KERNEL, Column, memory_capacities


@dataclass(frozen=True)
class Choice:
    """A choice of one plan of every app.

    Parameters
    ----------
    columns
        The plans, in the order of the apps.
    objective
        Seconds of the period, or joules of it.
    lower_bound
        What no choice can be below.
    num_columns
        Plans that were looked at.
    is_stopped
        Whether the time was up before the gap was reached.
    """

    columns: tuple[Column, ...]
    objective: float
    lower_bound: float
    num_columns: int
    is_stopped: bool

    @property
    def gap(self) -> float:
        """Relative gap between the two."""
        return max(0.0, self.objective / self.lower_bound - 1) if self.lower_bound > 0 else float("inf")


def frames_in(space: VirtualSpace, period_s: float) -> FloatArray:
    """Return how many frames of every app are in a period: [A].

    Parameters
    ----------
    space
        The space.
    period_s
        The period; it matters to apps with a fixed rate.
    """
    return np.array([one.frames if one.rate_hz is None else one.rate_hz * period_s for one in space.apps])


def period_of(space: VirtualSpace, columns: Sequence[Column]) -> float:
    """Return the shortest period in which every unit gets through its work; infinite where fixed rates are too high.

    Parameters
    ----------
    space
        The space.
    columns
        One plan of every app.
    """
    free = np.zeros_like(columns[0].busy_s)
    fixed = np.zeros_like(free)
    for column in columns:
        app = space.apps[column.app]
        if app.rate_hz is None:
            free += app.frames * column.busy_s
        else:
            fixed += app.rate_hz * column.busy_s
    if (fixed >= 1).any():
        return float("inf")
    return float((free / (1 - fixed)).max())


def fits_memories(space: VirtualSpace, columns: Sequence[Column]) -> bool:
    """Return whether a choice keeps the memories of all devices.

    Parameters
    ----------
    space
        The space.
    columns
        One plan of every app.
    """
    held = np.sum([one.held for one in columns], axis=0)
    held[:, KERNEL] += np.max([one.loading_bytes for one in columns], axis=0)
    return bool((held <= memory_capacities(space)).all())


def long_period(space: VirtualSpace, columns: Sequence[Column]) -> float:
    """Return a period that is longer than any choice needs, as long as fixed rates leave room at all.

    Parameters
    ----------
    space, columns
        The space, and plans of its apps.
    """
    longest = [0.0] * len(space.apps)
    for column in columns:
        longest[column.app] = max(longest[column.app], float(column.busy_s.max()))
    free = sum(one.frames * seconds for one, seconds in zip(space.apps, longest, strict=True) if one.rate_hz is None)
    return 1e3 * free if free > 0 else 1.0
