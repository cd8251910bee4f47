"""Close the gap of a period from both sides: choices of shorter periods are found, and periods are refused.

Every round begins with local search, and with programmes that change the best choice in some places. Then the programme
over all parts is asked: in one round quickly, about periods upwards from the bound; in the next with more time, about
the period that closes the gap. Where there is a second core, periods are asked for there all the time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.cores import usable_cores
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.virtual_space.background import Background
from hybridsplit.solver.virtual_space.columns import Column
from hybridsplit.solver.virtual_space.compact import decided
from hybridsplit.solver.virtual_space.gaps import LEAST_STEP, closing_period, is_near
from hybridsplit.solver.virtual_space.neighbourhoods import Neighbourhoods
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.reassign import Reassignment

_LOCAL_S = 0.4
"""Seconds of local search in the first round; two rounds double them."""
_SWEEPS = 320
"""Sweeps of local search in the first round; two rounds double them."""
_REFUSING = 4
"""Part of it that is left to local search after a round that refused a period: the bound is what is behind there."""
_RESTART_SWEEPS = 40
"""Sweeps after which a local search begins anew: most end soon, or not for long."""
_SHARES = (0.6, 0.5, 1.0)
"""Shares of what is left of a round's local search, for the period that closes the gap at once and for nearer ones."""
_ANY_SHARE = 0.5
"""Share of the seconds left in which the compact programme seeks some choice, where local search found none."""
_FAR = 20
"""Gaps between a choice and its bound above which local search looks for much shorter periods at once."""
_MOST_OPEN = 2
"""Periods left undecided after which no further one is asked for at once."""
_COMPACT_S = 0.7
"""Seconds of the compact programme, presolved, in every other round; two rounds double them."""
_COMPACT_SHARE = 0.33
"""Share of the seconds left that it has then at least."""
_TRIES = 3
"""Programmes, presolved, that may stay undecided in a round: HiGHS is soon done with one and late with another."""
_ASKED_S = 0.35
"""Seconds of the compact programme for a period in the first round; two rounds double them."""
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
    _num_asked: int = -1
    _around: Neighbourhoods = field(init=False)
    _is_refusing: bool = False
    _aside: Background | None = None

    def __post_init__(self) -> None:
        self._walks = Reassignment(
            self.space, np.random.default_rng(stream_seed(self.seed, "virtual-space", "reassignment"))
        )
        self._around = Neighbourhoods(self._walks, self.gap, self.clock, self.seed)
        if usable_cores() > 1:
            self._aside = Background(self.space, self.gap, self.clock, self.seed)
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
        is_last = True
        try:
            best, bound, is_last = self._round(best, objective, bound)
        finally:
            if is_last and self._aside is not None:
                self._aside.stop()
        return best, bound

    def _round(
        self, best: tuple[Column, ...], objective: float, bound: float
    ) -> tuple[tuple[Column, ...], float, bool]:
        """Return the best choice, the bound, and whether no further round is asked for."""
        known = objective, bound
        self._walks.note(list(best))
        number, self._num_rounds = self._num_rounds, self._num_rounds + 1
        times = 2.0 ** (number / 2)
        local = times / _REFUSING if self._is_refusing else times
        self._shorten(bound, objective, local, best if number % 2 == 0 else None)
        best, objective, bound = self._exchanged(*self._shortest(best, objective), bound)
        if number > 0 or not is_near(objective, bound, self.gap):
            best, objective = self._shortest(self._around.search(best, bound, times), objective)
        best, objective, bound = self._exchanged(best, objective, bound)
        before = bound
        if number % 2 == 0:
            bound = self._raised(best, objective, bound, times * _ASKED_S)
            best, objective = self._shortest(best, objective)
        best, objective, bound = self._exchanged(best, objective, bound)
        is_early = self._aside is None and bound > before and is_near(objective, bound, self.gap)
        if number % 2 == 1 or is_early:
            bound = self._halved(best, objective, bound, times)
        self._is_refusing = bound > before
        best, objective, bound = self._exchanged(*self._shortest(best, objective), bound)
        is_over = objective <= bound * (1 + self.gap) or self.clock.is_over()
        return best, bound, is_over or not (self.is_complete or (objective, bound) != known)

    def _exchanged(
        self, best: tuple[Column, ...], objective: float, bound: float
    ) -> tuple[tuple[Column, ...], float, float]:
        """Tell the thread in the background what is known, and return what is known there too."""
        if self._aside is None or objective <= bound * (1 + self.gap):
            return best, objective, bound
        best, objective, bound = self._aside.exchange(best, objective, bound)
        if self._aside.has_ended:
            self._aside = None
        self._walks.note(list(best))
        return best, objective, bound

    def _shortest(self, best: tuple[Column, ...], objective: float) -> tuple[tuple[Column, ...], float]:
        """Return the best choice so far, and its period."""
        if self._walks.best is not None and self._walks.best_s < objective:
            return self._walks.best, self._walks.best_s
        return best, objective

    def _raised(self, best: tuple[Column, ...], objective: float, bound: float, seconds: float) -> float:
        """Refuse periods from the bound upwards, in steps that grow as long as they are refused soon; return the bound.

        A period that a choice keeps on the way makes that the best.
        """
        least = max(self.gap, LEAST_STEP)
        step, num_open, has_neared = least, 0, False
        while not self.clock.is_over() and num_open < _MOST_OPEN and not has_neared:
            closing_s = closing_period(objective, self.gap)
            if closing_s <= bound:
                break
            target = min(closing_s, bound * (1 + step))
            found, raised = self._asked(bound, target, seconds, presolve=False, by_layers=False)
            if found is None and raised <= bound:
                if step <= least:
                    break
                num_open, step = num_open + 1, max(least, step / 4)
            elif num_open == 0:
                step *= 2
            best, objective = self._shortest(best, objective)
            bound, has_neared = raised, is_near(objective, raised, self.gap)
        return bound

    def _halved(self, best: tuple[Column, ...], objective: float, bound: float, times: float) -> float:
        """Ask for the period that closes the gap if it is refused, and for one between; return the bound."""
        seconds = max(times * _COMPACT_S, _COMPACT_SHARE * self.clock.left_s())
        num_open, is_open = 0, False
        while num_open < _TRIES and not self.clock.is_over() and closing_period(objective, self.gap) > bound:
            target, nears = closing_period(objective, self.gap), is_near(objective, bound, self.gap)
            if not nears or (is_open and target > bound * (1 + 2 * max(self.gap, LEAST_STEP))):
                target = (target * bound) ** 0.5
            # HiGHS is as soon done with another seed as it is late with one, and with another period still more often.
            # By flows choices are found sooner, and by layers, as in the background, periods are refused.
            by_layers = self._aside is None and num_open % 2 == 1
            found, raised = self._asked(bound, target, seconds, presolve=True, by_layers=by_layers)
            is_decided = found is not None or raised > bound
            num_open = 0 if is_decided else num_open + (1 if nears else _TRIES)
            is_open = found is None and (is_open or not is_decided)
            best, objective, bound = self._exchanged(*self._shortest(best, objective), raised)
        return bound

    def _asked(
        self, bound: float, period_s: float, seconds: float, *, presolve: bool, by_layers: bool
    ) -> tuple[tuple[Column, ...] | None, float]:
        """Ask the compact programme about a period: return a choice within it, and the bound after that."""
        self._num_asked += 1
        answer = decided(
            self._walks, period_s, self._at_most(seconds), self._num_asked, presolve=presolve, by_layers=by_layers
        )
        self.is_complete &= answer.is_exact
        return answer.choice, max(bound, period_s) if answer.is_refused else bound

    def _shorten(self, bound: float, objective: float, times: float, start: tuple[Column, ...] | None) -> None:
        """Search at the period that closes the gap at once, then at ones nearer to the best; then again from there."""
        walks, clock, sweeps = self._walks, self._soon(times * _LOCAL_S), 0.0
        is_found = True
        while is_found and objective > bound * (1 + self.gap):
            is_found = False
            low, high = bound * (1 + 0.9 * self.gap), objective / (1 + self.gap)
            middle = (low * high) ** 0.5
            is_far = objective > bound * (1 + _FAR * max(self.gap, LEAST_STEP))
            targets = (middle, (middle * high) ** 0.5, high) if is_far else (low, middle, high)
            for target, share in zip(targets, _SHARES, strict=True):
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
