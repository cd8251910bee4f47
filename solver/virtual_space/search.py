"""Search for the best choice of one plan of every app, beside the bound that column generation gives.

Few plans are listed and left to HiGHS. Of many, those are generated that the relaxation asks for; a choice is found by
diving (the plan that the relaxation likes best is fixed, and the rest is generated anew) at periods close to the bound,
and where a gap remains, by listing every plan whose reduced cost lets it be part of a better choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.solver.virtual_space.columns import Column, Part, make_column
from hybridsplit.solver.virtual_space.enumerate import enumerated, num_plans
from hybridsplit.solver.virtual_space.generation import MOST_ROUNDS, TOLERANCE, Generation
from hybridsplit.solver.virtual_space.master import Programme
from hybridsplit.solver.virtual_space.periods import Choice, frames_in, long_period, period_of

ENUMERATED = 1_500
"""Plans of all apps up to which all are listed instead of generated."""
_MOST_LISTED = 3_000
_MOST_RETRIES = 4


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
        if found is None:
            return None
        chosen, objective, is_best = found
        bound = objective if is_best else self._bound_of(columns, objective)
        return Choice(tuple(chosen), objective, bound, len(columns), not is_best)

    def _run_generated(self) -> Choice | None:
        horizon = np.inf if self.most_period_s is None else self.most_period_s
        bound = self._converged(horizon)
        if bound is None:
            return None
        best = self._first(bound)
        if best is None:
            chosen = self._chosen(list(self._pool.values()), None, self.gap / 4)
            if chosen is None:
                return None
            best = chosen[0]
        if self.most_period_s is None:
            bound = max(bound, self._bisected(bound, self._objective(best)))
            best = self._improved(best, bound)
        objective = self._objective(best)
        if objective > bound * (1 + self.gap) and self._left_s() > 0:
            best, bound = self._closed(best, bound)
            objective = self._objective(best)
        stopped = objective > bound * (1 + self.gap)
        return Choice(tuple(best), objective, min(bound, objective), len(self._pool), stopped)

    def _first(self, bound: float) -> list[Column] | None:
        """Dive for any choice at all; with fixed rates, at ever longer periods, since they ask for more in each."""
        if self.most_period_s is not None:
            return self._dived(self.most_period_s)
        if all(one.rate_hz is None for one in self.space.apps):
            return self._dived(np.inf)
        dives = (self._dived(bound * 2.0**power) for power in range(1, 13) if self._left_s() > 0)
        return next((found for found in dives if found is not None), None)

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
        while self._objective(best) > bound * (1 + self.gap) and self._left_s() > 0:
            objective = self._objective(best)
            target = min(bound * (1 + 0.98 * step), objective * (1 - self.gap / 2))
            found = self._dived(target)
            if found is None:
                chosen = self._chosen(self._within(objective), best, self.gap / 4, turn_s)
                found = None if chosen is None else chosen[0]
            if found is not None and self._objective(found) < objective:
                best = found
            elif target >= objective * (1 - self.gap):
                break
            step *= 2
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

    def _closed(self, best: list[Column], bound: float) -> tuple[list[Column], float]:
        """List every plan that a better choice could have, by its reduced cost, and choose among them."""
        objective = self._objective(best)
        longest = objective if self.most_period_s is None else self.most_period_s
        frames = frames_in(self.space, longest)
        relaxed, _, _ = self._step(longest)
        listed: list[Column] = []
        is_all = relaxed is not None
        for index, pricer in enumerate(self._pricers if relaxed is not None else []):
            assert relaxed is not None
            limit = float(relaxed.worth[index]) + max(0.0, objective - relaxed.value) + TOLERANCE
            plans = pricer.all_within(relaxed.prices, float(frames[index]), limit, longest, _MOST_LISTED)
            if plans is None or self._left_s() <= 0:
                is_all = False
                break
            listed += [make_column(self.space, index, parts) for parts in plans]
        found = self._chosen(listed if is_all else self._within(longest), best, self.gap / 4)
        if found is not None and self._objective(found[0]) < objective:
            best = found[0]
        if is_all and found is not None and found[2]:
            # No better choice has a plan that is not listed.
            bound = max(bound, min(self._objective(best), found[1]) * (1 - self.gap / 4))
        return best, bound

    def _bound_of(self, columns: list[Column], objective: float) -> float:
        horizon = objective if self.most_period_s is None else self.most_period_s
        relaxed = Programme(self.space, columns, frames_in(self.space, horizon), self.most_period_s).relaxed(1e6)
        return relaxed.value

    def _chosen(
        self, columns: list[Column], before: list[Column] | None, gap: float, most_s: float = np.inf
    ) -> tuple[list[Column], float, bool] | None:
        """Choose among columns; with fixed rates, again at the period found, until it falls no more."""
        has_rates = any(one.rate_hz is not None for one in self.space.apps)
        if self.most_period_s is not None:
            period = self.most_period_s
        elif not has_rates:
            period = 1.0
        else:
            period = long_period(self.space, columns) if before is None else period_of(self.space, before)
        best: tuple[list[Column], float, bool] | None = None
        for _ in range(20):
            programme = Programme(self.space, columns, frames_in(self.space, period), self.most_period_s)
            found = programme.solve(max(0.2, min(most_s, self._left_s())), gap)
            if found is None or not programme.fits(found[0]):
                return best
            if self.most_period_s is not None or not has_rates:
                return found
            reached = period_of(self.space, found[0])
            if best is not None and reached >= best[1] * (1 - 1e-9):
                return best
            best, period = (found[0], reached, found[2]), reached
            if not np.isfinite(reached):
                return None
        return best
