"""Plans generated so far, and the time there is to generate more."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.solver.virtual_space.columns import Column, Part, make_column


@dataclass(frozen=True)
class Clock:
    """Says when to stop.

    Parameters
    ----------
    deadline_s
        When, by the clock.
    now
        The clock, in seconds.
    """

    deadline_s: float
    now: Callable[[], float] = time.monotonic

    def left_s(self) -> float:
        """Return the seconds that are left, negative after the deadline."""
        return self.deadline_s - self.now()

    def is_over(self) -> bool:
        """Return whether none are left."""
        return self.left_s() <= 0

    def part(self, share: float) -> Clock:
        """Return a clock that stops after a share of the seconds that are left.

        Parameters
        ----------
        share
            The share.
        """
        now = self.now()
        return Clock(now + share * (self.deadline_s - now), self.now)


@dataclass
class Pool:
    """Plans of the apps of a space, each once.

    Parameters
    ----------
    space
        The space.
    """

    space: VirtualSpace
    columns: list[Column] = field(default_factory=list)
    _known: set[tuple[int, tuple[Part, ...]]] = field(default_factory=set)

    def add(self, app_index: int, parts: tuple[Part, ...]) -> bool:
        """Take a plan, and return whether it was not there.

        Parameters
        ----------
        app_index
            Position of the app.
        parts
            Its parts.
        """
        if (app_index, parts) in self._known:
            return False
        self._known.add((app_index, parts))
        self.columns.append(make_column(self.space, app_index, parts))
        return True
