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

_LOCAL_S = 0.5
"""Seconds of local search in the first round; two rounds double them."""
_SWEEPS = 400
"""Sweeps of local search in the first round; two rounds double them."""
_REFUSING = 4
"""Part of it that is left to local search after a round that refused a period: the bound is what is behind there."""
_RESTART_SWEEPS = 40
"""Sweeps after which a local search begins anew: most end soon, or not for long."""
_SHARES = (0.6, 0.5, 1.0)
"""Shares of what is left of a round's local search, for the period that closes the gap at once and for nearer ones."""
_ANY_SHARE = 0.5
"""Share of the seconds left in which the compact programme seeks some choice, where local search found none."""
_SOON_S = 0.4
"""Seconds in which the compact programme refuses most periods that it refuses at all; two rounds double them."""
_COMPACT_S = 0.7
"""Seconds of the compact programme, presolved, in every other round; two rounds double them."""
_COMPACT_SHARE = 0.35
"""Share of the seconds left that it has then at least, twice."""
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
    _num_rounds: int = 0
    _is_refusing: bool = False

    def __post_init__(self) -> None:
        self._walks = Reassignment(
            self.space, np.random.default_rng(stream_seed(self.seed, "virtual-space", "reassignment"))
        )
        self.is_complete = len({one.link_bps for one in self.space.devices}) == 1

    def any(self) -> tuple[tuple[Column, ...] | None, bool]:
        """Return some choice that memories have room for, and whether there is none."""
        found = self._walks.search(_LONGEST_S, self._soon(_LOCAL_S), most_sweeps=_SWEEPS / 4)
        if found is not None:
            return found, False
        answer = decided(self._walks, _LONGEST_S, self._at_most(_ANY_SHARE * self.clock.left_s()))
        return answer.choice, answer.is_refused

    def round(self, best: tuple[Column, ...], objective: float, bound: float) -> tuple[tuple[Column, ...], float]:
        """Return the best choice and the bound after one more round.

        Parameters
        ----------
        best, objective
            The best choice so far, and its period.
        bound
            What no period is below.
        """
        self._walks.note(list(best))
        number, self._num_rounds = self._num_rounds, self._num_rounds + 1
        times = 2.0 ** (number / 2)
        if number == 0 or objective > bound * (1 + self.gap):
            local = times / _REFUSING if self._is_refusing else times
            self._shorten(bound, objective, local, best if number % 2 == 0 else None)
        if self._walks.best is not None and self._walks.best_s < objective:
            best, objective = self._walks.best, self._walks.best_s
        # A little less than the gap, so that rounding leaves no more than that.
        closing = objective / (1 + 0.999 * self.gap)
        if closing <= bound or self.clock.is_over():
            return best, bound
        before = bound
        if number % 2 == 0:
            found, bound = self._refused_from_below(bound, closing, times)
        else:
            seconds = max(times * _COMPACT_S, _COMPACT_SHARE * self.clock.left_s())
            found, bound = self._asked(bound, closing, seconds, presolve=True)
            if found is None and bound < closing:
                # HiGHS is as soon done with another seed as it is late with one.
                found, bound = self._asked(bound, closing, seconds, presolve=True, again=1)
        self._is_refusing = bound > before
        return found or best, bound

    def _refused_from_below(
        self, bound: float, closing: float, times: float
    ) -> tuple[tuple[Column, ...] | None, float]:
        """Refuse the period that closes the gap, or half of the way to it as long as that is refused soon."""
        seconds, reach = times * _SOON_S, 1.0
        while closing > bound and not self.clock.is_over():
            target = bound ** (1 - reach) * closing**reach
            found, raised = self._asked(bound, target, seconds, presolve=False)
            is_vain = raised <= bound
            bound = raised
            if found is not None or (is_vain and reach < 1) or closing <= bound * (1 + self.gap / 4):
                return found, bound
            reach = 0.5
        return None, bound

    def _asked(
        self, bound: float, period_s: float, seconds: float, *, presolve: bool, again: int = 0
    ) -> tuple[tuple[Column, ...] | None, float]:
        """Ask the compact programme about a period: return a choice within it, and the bound after that."""
        seed = self._num_rounds - 1 + again
        answer = decided(self._walks, period_s, self._at_most(seconds), seed, presolve=presolve)
        self.is_complete &= answer.is_exact
        return answer.choice, max(bound, period_s) if answer.is_refused else bound

    def _shorten(self, bound: float, objective: float, times: float, start: tuple[Column, ...] | None) -> None:
        """Search at the period that closes the gap at once, then at ones nearer to the best; then again from there."""
        walks, clock, sweeps = self._walks, self._soon(times * _LOCAL_S), 0.0
        is_found = True
        while is_found and objective > bound * (1 + self.gap):
            is_found = False
            low, high = bound * (1 + 0.9 * self.gap), objective / (1 + self.gap)
            for target, share in zip((low, (low * high) ** 0.5, high), _SHARES, strict=True):
                part, most = clock.part(share), share * (times * _SWEEPS - sweeps)
                before = sweeps
                while sweeps - before < most and not part.is_over():
                    walks.search(min(target, high), part, start, _RESTART_SWEEPS)
                    sweeps, start = sweeps + _RESTART_SWEEPS, None
                    if walks.best_s < objective:
                        break
                if walks.best_s < objective:
                    objective, start, is_found = walks.best_s, walks.best, True
                    break

    def _at_most(self, seconds: float) -> float:
        return min(seconds, self.clock.left_s() - _MARGIN_S)

    def _soon(self, seconds: float) -> Clock:
        now = self.clock.now
        return Clock(min(self.clock.deadline_s, now() + seconds), now)
