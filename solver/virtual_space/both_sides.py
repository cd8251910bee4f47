"""Close the gap of a period from both sides: local search finds shorter ones, the compact programme refuses them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.virtual_space.columns import Column
from hybridsplit.solver.virtual_space.compact import decided
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.reassign import Reassignment

_LOCAL_S = 0.2
"""Seconds of the first local search at a period; every round doubles them."""
_SWEEPS = 80
"""Sweeps of the first local search at a period; every round doubles them."""
_COMPACT_S = 0.7
"""Seconds of the compact programme in the first round."""
_LONGEST_S = 1e9
_MARGIN_S = 0.05
"""Seconds by which HiGHS may end late."""


@dataclass
class BothSides:
    """Shortens a choice's period, and raises its bound.

    Parameters
    ----------
    space
        The space.
    gap
        Gap at which to stop.
    clock
        Says when to stop.
    seed
        What random draws follow from.
    """

    space: VirtualSpace
    gap: float
    clock: Clock
    seed: int = 0
    is_complete: bool = field(init=False)
    """Whether more time closes every gap."""
    _walks: Reassignment = field(init=False)

    def __post_init__(self) -> None:
        self._walks = Reassignment(
            self.space, np.random.default_rng(stream_seed(self.seed, "virtual-space", "reassignment"))
        )
        self.is_complete = len({one.link_bps for one in self.space.devices}) == 1

    def any(self) -> tuple[tuple[Column, ...] | None, bool]:
        """Return some choice that memories have room for, and whether there is none."""
        found = self._walks.search(_LONGEST_S, self._soon(2 * _LOCAL_S), most_sweeps=_SWEEPS)
        if found is not None:
            return found, False
        answer = decided(self._walks, _LONGEST_S, self._at_most(_COMPACT_S))
        return answer.choice, answer.is_refused

    def round(
        self, best: tuple[Column, ...], objective: float, bound: float, number: int
    ) -> tuple[tuple[Column, ...], float]:
        """Return the best choice and the bound after one more round.

        Parameters
        ----------
        best, objective
            The best choice so far, and its period.
        bound
            What no period is below.
        number
            How many rounds there were.
        """
        self._walks.note(list(best))
        times = 2.0**number
        shorter = self._shorter(bound, objective, times, best if number % 2 == 0 else None)
        if shorter is not None:
            best, objective = shorter
        # A little less than the gap, so that rounding leaves no more than that.
        closing = objective / (1 + 0.999 * self.gap)
        if closing <= bound or self.clock.is_over():
            return best, bound
        answer = decided(self._walks, closing, self._at_most(times * _COMPACT_S), number)
        self.is_complete &= answer.is_exact
        return answer.choice or best, max(bound, closing) if answer.is_refused else bound

    def _shorter(
        self, bound: float, objective: float, times: float, start: tuple[Column, ...] | None
    ) -> tuple[tuple[Column, ...], float] | None:
        """Search at periods ever nearer to the best one, from the one that closes the gap at once; then from there."""
        before, is_found = objective, True
        while is_found and objective > bound * (1 + self.gap) and not self.clock.is_over():
            is_found = False
            low, high = bound * (1 + 0.9 * self.gap), objective / (1 + self.gap)
            for target in (low, (low * high) ** 0.5, high):
                self._walks.search(min(target, high), self._soon(times * _LOCAL_S), start, times * _SWEEPS)
                if self._walks.best_s < objective:
                    objective, start, is_found = self._walks.best_s, self._walks.best, True
                    break
        return (self._walks.best, objective) if self._walks.best is not None and objective < before else None

    def _at_most(self, seconds: float) -> float:
        return min(seconds, self.clock.left_s() - _MARGIN_S)

    def _soon(self, seconds: float) -> Clock:
        now = self.clock.now
        return Clock(min(self.clock.deadline_s, now() + seconds), now)
