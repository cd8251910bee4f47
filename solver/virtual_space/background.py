"""Periods asked for in a thread of its own, so that one core refuses periods while another seeks choices.

HiGHS runs without Python's interpreter lock. How long it takes to refuse a period, or to find a choice, varies by an
order of magnitude with its seed and with the period, so that it begins anew after limits that double: with another
seed, about another period.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.virtual_space.columns import Column
from hybridsplit.solver.virtual_space.compact import LEAST_S, decided
from hybridsplit.solver.virtual_space.gaps import closing_period, is_near
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.reassign import Reassignment

_LIMIT_S = 0.7
"""Seconds of the first tries; later ones take twice as long, and so on."""
_MOST_S = 3.0
"""Seconds of a try at most: Python waits for it at its end, since HiGHS must not be left in the middle of one."""
_LOOK_S = 1.0
"""Seconds after which to look again whether anybody waits."""
_REACHES = (1.0, 0.5)
"""How far from the bound to the period that closes the gap to ask, one try after another; half as far where that is
not near."""


class _Try(NamedTuple):
    reach: float
    limit_s: float
    seed: int
    """Of HiGHS."""


@dataclass
class Background:
    """Asks for periods between a bound and the period that closes the gap until that is refused or found.

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
    _best: tuple[Column, ...] | None = None
    _objective: float = np.inf
    _bound: float = 0.0
    _is_stopped: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def exchange(
        self, best: tuple[Column, ...], objective: float, bound: float
    ) -> tuple[tuple[Column, ...], float, float]:
        """Tell what is known, and return what is known on either side: the best choice, its period, and the bound.

        The thread begins with the first call.

        Parameters
        ----------
        best, objective
            The best choice so far, and its period.
        bound
            What no period is below.
        """
        with self._changed:
            if objective < self._objective:
                self._best, self._objective = best, objective
            self._bound = max(self._bound, bound)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="refused periods")
                self._thread.start()
            return self._best or best, self._objective, self._bound

    @property
    def has_ended(self) -> bool:
        """Whether the thread began, and asks for nothing any more."""
        return self._thread is not None and not self._thread.is_alive()

    def stop(self) -> None:
        """Let the thread end after the try it is at, which is waited for only where Python ends before."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _run(self) -> None:
        # What local search and the other programmes keep changes: this thread shares none of it.
        draw = np.random.default_rng(stream_seed(self.seed, "virtual-space", "background"))
        walks, tries = Reassignment(self.space, draw), _tries(0)
        while (open_now := self._next()) is not None:
            objective, bound = open_now
            one = next(tries)
            reach = one.reach if is_near(objective, bound, self.gap) else one.reach / 2
            period_s = bound ** (1 - reach) * closing_period(objective, self.gap) ** reach
            limit_s = min(one.limit_s, self.clock.left_s())
            answer = decided(walks, period_s, limit_s, one.seed, by_layers=True)
            if not answer.is_exact:
                return  # More tries would come to nothing either.
            with self._changed:
                if answer.is_refused:
                    self._bound = max(self._bound, period_s)
                if answer.choice is not None and walks.best_s < self._objective:
                    self._best, self._objective = walks.best, walks.best_s
            if answer.is_refused or answer.choice is not None:
                tries = _tries(one.seed + 1)

    def _next(self) -> tuple[float, float] | None:
        """Return the objective and the bound as soon as a period between them is open; None when it is time to end."""
        with self._changed:
            while self._is_wanted():
                if closing_period(self._objective, self.gap) > self._bound > 0:
                    return self._objective, self._bound
                self._changed.wait(min(self.clock.left_s(), _LOOK_S))
        return None

    def _is_wanted(self) -> bool:
        is_ended = self._is_stopped or not threading.main_thread().is_alive()
        return not is_ended and self.clock.left_s() > LEAST_S


def _tries(first_seed: int) -> Iterator[_Try]:
    """Yield what to try one after another while nothing is decided."""
    seeds = count(first_seed)
    for number in count():
        for reach in _REACHES:
            yield _Try(reach, min(_MOST_S, 2.0 ** min(number, 9) * _LIMIT_S), next(seeds))
