"""Search for the best choice of one plan of every app, beside the bound that column generation gives.

Few plans are listed and left to HiGHS. Of many, those are generated that the relaxation asks for; a choice is found by
diving (the plan that the relaxation likes best is fixed, and the rest is generated anew) at periods close to the bound,
and where a gap remains, by listing every plan whose reduced cost lets it be part of a better choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.virtual_space.columns import Column, Part
from hybridsplit.solver.virtual_space.enumerate import enumerated, num_plans
from hybridsplit.solver.virtual_space.generation import MOST_ROUNDS, TOLERANCE, Generation
from hybridsplit.solver.virtual_space.master import Programme, Solved
from hybridsplit.solver.virtual_space.periods import Choice, frames_in, long_period, period_of

ENUMERATED = 1_500
"""Plans of all apps up to which all are listed instead of generated."""
_MOST_LISTED = (60, 250, 1_000, 4_000)
"""Plans of an app that are listed to close a gap, in one attempt after another."""
_MOST_HALVINGS = 12
_MOST_RETRIES = 4
_MOST_DIVES = 4


@dataclass
class Search(Generation):
    """Searches a space."""

    def run(self, start: Iterable[Column] = ()) -> Choice | None:
        """Search for the best choice; None where none was found.

        Parameters
        ----------
        start
            Plans to begin with, such as those of an earlier choice.
        """
        for column in start:
            self.add(column.app, column.parts)
        if sum(num_plans(self.space, index) for index in range(len(self.space.apps))) <= ENUMERATED:
            return self._run_enumerated()
        return self._run_generated()

    def _run_enumerated(self) -> Choice | None:
        plans = [enumerated(self.space, index) for index in range(len(self.space.apps))]
        if not all(plans):
            return None
        columns = [one for several in plans for one in several]
        found = self._chosen(columns, None, 1e-7)
        if found.columns is None:
            return None
        bound = found.objective if found.is_proved else self._bound_of(columns, found.objective)
        return Choice(tuple(found.columns), found.objective, bound, len(columns), not found.is_proved)

    def _run_generated(self) -> Choice | None:
        horizon = np.inf if self.most_period_s is None else self.most_period_s
        bound = self._converged(horizon)
        if bound is None:
            return None
        best = self._first(bound)
        if best is None:
            best = self._chosen(list(self._pool.values()), None, self.gap / 4).columns
        if best is None:
            return None
        if self.most_period_s is None:
            bound = max(bound, self._bisected(bound, self._objective(best)))
            best = self._improved(best, bound)
        objective = self._objective(best)
        for most in _MOST_LISTED:
            if objective > bound * (1 + self.gap) and self._left_s() > 0:
                best, bound = self._closed(best, bound, most, self._left_s() / 2)
                objective = self._objective(best)
        stopped = objective > bound * (1 + self.gap)
        return Choice(tuple(best), objective, min(bound, objective), len(self._pool), stopped)

    def _first(self, bound: float) -> list[Column] | None:
        """Dive for any choice at all; with fixed rates, at ever longer periods, since they ask for more in each."""
        if self.most_period_s is not None:
            return self._dived(self.most_period_s)
        if not self._has_rates:
            return self._dived(np.inf)
        dives = (self._dived(bound * 2.0**power) for power in range(1, 13) if self._left_s() > 0)
        return next((found for found in dives if found is not None), None)

    @property
    def _has_rates(self) -> bool:
        return any(one.rate_hz is not None for one in self.space.apps)

    def _objective(self, columns: Sequence[Column]) -> float:
        """Return the objective of a choice."""
        if self.most_period_s is None:
            return period_of(self.space, columns)
        frames = frames_in(self.space, self.most_period_s)
        return float(sum(one.energy_j * frames[one.app] for one in columns))

    def _improved(self, best: list[Column], bound: float) -> list[Column]:
        """Look for a choice with a shorter period: dive for one near the bound, then for ever longer ones.

        Every dive adds plans that go together, so that choosing among all of them may find more than the dive did.
        """
        step, turn_s = self.gap, self._left_s() / 8
        for _ in range(_MOST_DIVES):
            objective = self._objective(best)
            if objective <= bound * (1 + self.gap) or self._left_s() <= 0:
                break
            target = min(bound * (1 + 0.98 * step), objective * (1 - self.gap / 2))
            found = self._dived(target)
            if found is None:
                found = self._chosen(self._within(objective), best, self.gap / 4, turn_s, target).columns
            if found is not None and self._objective(found) < objective:
                best = found
            step *= 3
        return best

    def _dived(self, longest_s: float) -> list[Column] | None:
        """Fix one app after another to the plan that the relaxation likes best; None where that leads nowhere."""
        fixed: dict[int, Column] = {}
        forbidden: set[tuple[int, tuple[Part, ...]]] = set()
        retries = _MOST_RETRIES
        while len(fixed) < len(self.space.apps):
            weights = self._fraction(longest_s, fixed, forbidden)
            if weights is None:
                if not fixed or retries == 0 or self._left_s() <= 0:
                    return None
                # The plan fixed last leaves no way on: do without it.
                retries -= 1
                app, column = fixed.popitem()
                forbidden.add((app, column.parts))
                continue
            whole = [column for column, weight in weights if weight > 1 - 1e-6 and column.app not in fixed]
            if not whole:
                whole = [max((one for one in weights if one[0].app not in fixed), key=lambda one: one[1])[0]]
            for column in whole:
                fixed[column.app] = column
        chosen = [fixed[index] for index in range(len(self.space.apps))]
        limit = longest_s if self.most_period_s is None else self.most_period_s
        frames = frames_in(self.space, limit if np.isfinite(limit) else 1.0)
        fits = Programme(self.space, [], frames, self.most_period_s).fits(chosen)
        return chosen if fits and np.isfinite(self._objective(chosen)) else None

    def _fraction(
        self, longest_s: float, fixed: dict[int, Column], forbidden: set[tuple[int, tuple[Part, ...]]]
    ) -> list[tuple[Column, float]] | None:
        """Solve the relaxation with some apps fixed, and return the weights of plans; None where it is refused."""
        for _ in range(MOST_ROUNDS):
            size = len(self._pool)
            relaxed, bound, columns = self._step(longest_s, fixed, forbidden)
            if relaxed is None or bound > longest_s * (1 + TOLERANCE) or self._left_s() <= 0:
                return None
            is_served = relaxed.unserved < 1e-7
            is_done = len(self._pool) == size or bound >= relaxed.value * (1 - 1e-4)
            if is_served and (is_done or (self.most_period_s is None and relaxed.value <= longest_s < np.inf)):
                return list(zip(columns, relaxed.weights.tolist(), strict=True))
            if is_done:
                return None
        return None

    def _closed(self, best: list[Column], bound: float, most: int, most_s: float) -> tuple[list[Column], float]:
        """List every plan that a better choice could have, by its reduced cost, and choose among them."""
        objective = self._objective(best)
        longest = objective if self.most_period_s is None else self.most_period_s
        frames = frames_in(self.space, longest)
        relaxed, _, _ = self._step(longest)
        listed: list[Column] = []
        is_all = relaxed is not None
        for index, pricer in enumerate(self._pricers if relaxed is not None else []):
            assert relaxed is not None
            reach = max(0.0, objective - relaxed.value)
            # Where too many plans could be part of a better choice, those nearest to the relaxation's.
            for power in range(_MOST_HALVINGS):
                limit = float(relaxed.worth[index]) + reach * 0.5**power + TOLERANCE
                plans = pricer.all_within(relaxed.prices, float(frames[index]), limit, longest, most)
                is_all &= power == 0 and plans is not None
                if plans is not None or self._left_s() <= 0:
                    break
            for parts in plans or ():
                self.add(index, parts)
                listed.append(self._pool[index, parts])
        found = self._chosen(listed if is_all else self._within(longest), best, self.gap / 4, most_s)
        if found.columns is not None and found.objective < objective:
            best = found.columns
        if is_all and found.is_proved and not self._has_rates:
            # No better choice has a plan that is not listed.
            bound = max(bound, self._objective(best) * (1 - self.gap / 4))
        return best, bound

    def _bound_of(self, columns: list[Column], objective: float) -> float:
        horizon = objective if self.most_period_s is None else self.most_period_s
        relaxed = Programme(self.space, columns, frames_in(self.space, horizon), self.most_period_s).relaxed(1e6)
        return relaxed.value

    def _chosen(
        self,
        columns: list[Column],
        before: list[Column] | None,
        gap: float,
        most_s: float = np.inf,
        below: float = np.inf,
    ) -> Solved:
        """Choose among columns: something better than an earlier choice, where there is one, and below a period.

        With fixed rates, it is chosen again at the period found, until that falls no more.
        """
        most_s = min(most_s, self._left_s())
        if self.most_period_s is not None or not self._has_rates:
            horizon = 1.0 if self.most_period_s is None else self.most_period_s
            programme = Programme(self.space, columns, frames_in(self.space, horizon), self.most_period_s)
            if before is not None:
                below = min(below, self._objective(before) * (1 - gap))
            return programme.solve(max(0.2, most_s), gap, below)
        period = long_period(self.space, columns) if before is None else period_of(self.space, before)
        best = Solved(None, np.inf, False)
        for _ in range(20):
            found = Programme(self.space, columns, frames_in(self.space, period)).solve(max(0.2, most_s), gap)
            if found.columns is None:
                break
            reached = period_of(self.space, found.columns)
            if not np.isfinite(reached) or reached >= best.objective * (1 - 1e-9):
                break
            best, period = Solved(found.columns, reached, found.is_proved), reached
        return best
