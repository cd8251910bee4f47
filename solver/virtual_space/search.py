"""Search for the best choice of one plan of every app, beside a bound that holds for all choices.

Few plans are listed and left to HiGHS. Of many, those are generated that the relaxation within a period asks for: the
shortest period that it does not refuse is the bound, found by bisection. What gap remains is closed from both sides by
local search and a programme over parts; where that does not do, by searching again around the best choice with most of
its apps as they are, and by branching until the period that would close the gap is found or refused.
With the objective energy, the period is given, and joules take its place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.virtual_space.both_sides import BothSides
from hybridsplit.solver.virtual_space.columns import Column
from hybridsplit.solver.virtual_space.decisions import RULES
from hybridsplit.solver.virtual_space.enumerate import all_parts, enumerated, num_plans
from hybridsplit.solver.virtual_space.gaps import closing_period
from hybridsplit.solver.virtual_space.master import Programme
from hybridsplit.solver.virtual_space.periods import Choice, fits_memories, frames_in, long_period, period_of
from hybridsplit.solver.virtual_space.pool import Clock, Pool
from hybridsplit.solver.virtual_space.within import IN_LIMITS, Answer, WithinPeriod

ENUMERATED = 600
"""Plans of all apps up to which all are listed instead of generated."""
_LONGEST_S = 1e9
"""A period in which only memories and fixed rates matter."""
_STEPS = (0.5, 2.0, 6.0, 12.0, 20.0, 40.0, 80.0, 200.0, 1000.0)
"""Distances from the bound at which choices are sought, in gaps."""
_FAR = (1.5, 3.0, 10.0, np.inf)
"""Factors of the bound at which some choice is sought first."""
_MOST_LISTED = 5_000
"""Plans of all apps up to which HiGHS is asked to refuse a period among all of them."""
_LEAST_STEP, _LEAST_MIXED_S = 1e-3, 0.5
_NEIGHBOUR_NODES, _TREE_NODES = 12, 60


@dataclass
class Search:
    """Searches a space.

    Parameters
    ----------
    space
        The space.
    gap
        Gap at which to stop.
    clock
        Says when to stop.
    most_period_s
        Given period where joules are minimised; None where the period is.
    seed
        What random draws follow from.
    """

    space: VirtualSpace
    gap: float
    clock: Clock
    most_period_s: float | None = None
    seed: int = 0
    is_refused: bool = False
    """Whether a search that found nothing has proved that there is nothing."""
    _pool: Pool = field(init=False)
    _sides: BothSides | None = field(init=False)
    _is_all_listed: bool = False

    def __post_init__(self) -> None:
        self._pool = Pool(self.space)
        self._sides = None if self.most_period_s is not None else BothSides(self.space, self.gap, self.clock, self.seed)

    def run(self, start: Iterable[Column] = ()) -> Choice | None:
        """Search for the best choice; None where none was found.

        Parameters
        ----------
        start
            Plans to begin with, such as those of an earlier choice; where they are one of all apps, nothing worse is
            returned.
        """
        known = tuple(start)
        for column in known:
            self._pool.add(column.app, column.parts)
        best = self._complete(known)
        if self._num_plans <= ENUMERATED:
            listed = self._listed(best)
            if listed is not None or self.is_refused:
                return listed
        if self._sides is not None and best is None:
            best, self.is_refused = self._sides.any()
            if self.is_refused:
                return None
        bound = self._root_bound(best)
        self.is_refused = bound is None
        if bound is None:
            return None
        if best is None or (self._sides is None and self._objective(best) > bound * (1 + self.gap)):
            best = self._better(best, self._any(bound) if best is None else None)
            best = self._better(best, self._first(bound, self.clock.part(0.5) if best is not None else self.clock))
        if best is None:
            return None
        best, bound = self._closed(best, bound)
        objective = self._objective(best)
        is_stopped = objective > bound * (1 + self.gap) * (1 + 1e-9)
        return Choice(best, objective, min(bound, objective), len(self._pool.columns), is_stopped)

    @property
    def _apps(self) -> range:
        return range(len(self.space.apps))

    def _complete(self, known: Sequence[Column]) -> tuple[Column, ...] | None:
        """Return the choice that plans are; None where they are none, or one that is not possible."""
        choice = tuple(sorted(known, key=lambda one: one.app))
        if [one.app for one in choice] != list(self._apps) or not fits_memories(self.space, choice):
            return None
        period = period_of(self.space, choice)
        return choice if period <= (self.most_period_s or np.finfo(np.float64).max) else None

    def _objective(self, choice: Sequence[Column]) -> float:
        if self.most_period_s is None:
            return period_of(self.space, choice)
        frames = frames_in(self.space, self.most_period_s)
        return float(sum(one.energy_j * frames[one.app] for one in choice))

    def _better(self, one: tuple[Column, ...] | None, other: tuple[Column, ...] | None) -> tuple[Column, ...] | None:
        found = [choice for choice in (one, other) if choice is not None]
        return min(found, key=self._objective) if found else None

    def _listed(self, best: tuple[Column, ...] | None) -> Choice | None:
        """List all plans and choose among them; None where that was not settled in time, or there is no choice."""
        plans = [enumerated(self.space, index) for index in self._apps]
        columns = [one for several in plans for one in several]
        if not all(plans):
            self.is_refused = True
            return None
        period = long_period(self.space, columns) if self.most_period_s is None else self.most_period_s
        for _ in range(20):
            programme = Programme(self.space, columns, frames_in(self.space, period), self.most_period_s)
            found = programme.solve(self.clock.left_s(), 1e-7)
            if not found.is_proved:
                return None
            if found.columns is None:
                self.is_refused = True
                return None
            best = self._better(best, tuple(found.columns))
            assert best is not None
            # With fixed rates, the programme asks for as many frames as fit the period found before.
            if self.most_period_s is not None or period_of(self.space, best) >= period * (1 - 1e-9):
                break
            period = period_of(self.space, best)
            if all(one.rate_hz is None for one in self.space.apps):
                break
        assert best is not None
        objective = self._objective(best)
        return Choice(best, objective, objective, len(columns), False)

    def _within(self, target: float) -> tuple[WithinPeriod, float]:
        """Return the search for choices whose objective is no more than a target, and the cost to ask it for."""
        if self.most_period_s is None:
            return WithinPeriod(self.space, min(target, _LONGEST_S), self._pool), IN_LIMITS
        within = WithinPeriod(self.space, self.most_period_s, self._pool, is_energy=True)
        return within, min(IN_LIMITS, within.cost_of(target))

    def _root_bound(self, best: tuple[Column, ...] | None) -> float | None:
        """Return what no choice is below, by the relaxation alone; None where there is no choice."""
        if self.most_period_s is not None:
            return self._within(0.0)[0].least_j(self.clock)
        if self._within(_LONGEST_S)[0].is_refused(self.clock):
            return None
        low, high = 0.0, self._guess() if best is None else self._objective(best)
        while best is None and not self.clock.is_over() and self._within(high)[0].is_refused(self.clock):
            low, high = high, 2 * high
        while high > low * (1 + max(self.gap, _LEAST_STEP) / 8) and not self.clock.is_over():
            middle = (low * high) ** 0.5 if low > 0 else high / 2
            is_refused = self._within(middle)[0].is_refused(self.clock)
            if is_refused is None:
                break
            low, high = (middle, high) if is_refused else (low, middle)
            if low > 0 and best is not None and self._objective(best) <= low * (1 + self.gap):
                break
        return low

    def _guess(self) -> float:
        """Return a period of about the right size: the seconds of all plans there are by now, spread over devices."""
        seconds = [0.0] * len(self.space.apps)
        for column in self._pool.columns:
            seconds[column.app] = max(seconds[column.app], float(column.busy_s.max()))
        return max(1e-9, sum(seconds) / len(self.space.devices))

    def _any(self, bound: float) -> tuple[Column, ...] | None:
        """Find some choice soon, far from the bound, so that there is one when the time is up."""
        for factor in _FAR:
            if self.clock.is_over():
                return None
            target = (bound or self._guess()) * factor
            within, cost = self._within(target)
            found = within.dive(self.clock, cost) or self._mixed(target, 0.05).choice
            if found is not None:
                return found
        return None

    def _first(self, bound: float, clock: Clock) -> tuple[Column, ...] | None:
        """Find a choice close to the bound, or ever farther from it."""
        if clock.is_over():
            return None
        if self.most_period_s is None and bound <= 0:
            bound = self._guess()
        for step in _STEPS:
            target = bound * (1 + step * max(self.gap, _LEAST_STEP))
            within, cost = self._within(target)
            found = within.dive(clock, cost) or self._mixed(target, 0.1).choice
            if found is not None or clock.is_over():
                return found
        # Whatever there is.
        answer = self._within(np.inf)[0].search(clock)
        self.is_refused = answer.is_refused
        return answer.choice

    def _mixed(self, target: float, share: float) -> Answer:
        """Choose among the plans generated so far by HiGHS, in a share of the seconds left."""
        is_energy = self.most_period_s is not None
        period = target if self.most_period_s is None else self.most_period_s
        frames = frames_in(self.space, period)
        columns = [
            one for one in self._pool.columns if float(one.busy_s.max()) * frames[one.app] <= period * (1 + 1e-9)
        ]
        if {one.app for one in columns} != set(self._apps):
            return Answer(None, self._is_all_listed)
        programme = Programme(self.space, columns, frames, period, is_energy)
        left_s = self.clock.left_s()
        found = programme.solve(min(left_s, max(share * left_s, _LEAST_MIXED_S)), self.gap if is_energy else 1.0)
        if found.columns is None or self._objective(found.columns) > target * (1 + 1e-9):
            return Answer(None, found.is_proved and found.columns is None and self._is_all_listed)
        return Answer(tuple(found.columns), False)

    def _mixed_of_all(self, target: float) -> Answer:
        """Choose among all plans by HiGHS."""
        if not self._is_all_listed:
            for index in self._apps:
                for parts in all_parts(self.space, index):
                    self._pool.add(index, parts)
            self._is_all_listed = True
        return self._mixed(target, 0.5)

    @property
    def _num_plans(self) -> int:
        return sum(num_plans(self.space, index) for index in self._apps)

    def _closed(self, best: tuple[Column, ...], bound: float) -> tuple[tuple[Column, ...], float]:
        """Close the gap as far as time allows."""
        draw, reach = np.random.default_rng(stream_seed(self.seed, "virtual-space", "branches")), 0.5
        for attempt in itertools.count():
            objective = self._objective(best)
            if objective <= bound * (1 + self.gap) or self.clock.is_over():
                break
            if self._sides is not None and bound > 0:
                best, raised = self._sides.round(best, objective, bound)
                if self._sides.is_complete or raised > bound or self._objective(best) < objective:
                    bound = raised
                    continue
                self._sides = None  # More time would not help it.
            # What closes the gap if it is refused; or far below, while such choices are found.
            target = closing_period(objective, self.gap)
            nearer = objective ** (1 - reach) * bound**reach if bound > 0 else target
            within, cost = self._within(min(target, nearer))
            found = within.dive(self.clock, cost) or self._mixed(min(target, nearer), 0.3).choice
            if found is not None:
                best = found
                continue
            if nearer < target:
                reach /= 2
                continue
            within, cost = self._within(target)
            if self._num_plans <= _MOST_LISTED:
                answer = self._mixed_of_all(target)
                if answer.is_refused:
                    bound = max(bound, target)
                    continue
                found = answer.choice
            found = found or self._near(within, cost, best, draw)
            if found is None:
                nodes = _TREE_NODES * 2**attempt
                answer = within.search(self.clock, cost, nodes, RULES[attempt % len(RULES)])
                found = answer.choice
                if answer.is_refused:
                    bound = max(bound, target)
            best = found or best
        return best, bound

    def _near(
        self, within: WithinPeriod, cost: float, best: tuple[Column, ...], draw: np.random.Generator
    ) -> tuple[Column, ...] | None:
        """Look for a better choice that leaves most apps as they are."""
        for free in self._neighbourhoods(best, draw):
            if self.clock.is_over():
                return None
            fixed = {one.app: one for one in best if one.app not in free}
            found = within.search(self.clock, cost, _NEIGHBOUR_NODES, RULES[0], fixed)
            if found.choice is not None:
                return found.choice
        return None

    def _neighbourhoods(self, best: tuple[Column, ...], draw: np.random.Generator) -> Iterator[set[int]]:
        """Yield the apps to choose anew: some on the busiest unit with others, drawn at random."""
        frames = frames_in(self.space, period_of(self.space, best))
        busy = sum(one.busy_s * frames[one.app] for one in best)
        device, unit = np.unravel_index(int(np.argmax(busy)), busy.shape)
        busiest = [one.app for one in best if one.busy_s[device, unit] > 0]
        for size in (2, 3, 4):
            if size >= len(self._apps):
                return
            for _ in range(2 * len(self._apps)):
                first = int(draw.choice(busiest))
                others = [app for app in self._apps if app != first]
                yield {first, *(int(one) for one in draw.choice(others, size - 1, replace=False))}
