"""Column generation: a lower bound for all plans, and a choice among those that were generated.

The relaxation alone is a weak bound, since it splits apps among plans. A period P can be refused sooner: no plan in it
keeps a unit busy for longer than P by one part or hop, so that only plans with short parts and hops are priced for it
(as Lenstra, Shmoys and Tardos do for jobs on machines, 1990). The bound is the shortest period that is not refused,
found by bisection; every step ends as soon as its relaxation is below the period, or its Lagrangian bound above it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import Column, Part, make_column
from hybridsplit.solver.virtual_space.enumerate import enumerated, num_plans
from hybridsplit.solver.virtual_space.master import Programme, Relaxed
from hybridsplit.solver.virtual_space.pricing import Pricer

ENUMERATED = 1_500
"""Plans of all apps up to which all are listed instead of generated."""
_TOLERANCE = 1e-9
_MOST_ROUNDS = 400
_MOST_LISTED = 3_000
_MOST_RETRIES = 4


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


@dataclass
class Search:
    """Generates plans of the apps of a space.

    Parameters
    ----------
    space
        The space.
    gap
        Gap at which to stop.
    deadline
        When to stop, by ``time.monotonic``.
    most_period_s
        Given period where joules are minimised; None where the period is.
    """

    space: VirtualSpace
    gap: float
    deadline: float
    most_period_s: float | None = None
    _pool: dict[tuple[int, tuple[Part, ...]], Column] = field(default_factory=dict)
    _pricers: list[Pricer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pricers = [Pricer(self.space, index) for index in range(len(self.space.apps))]

    def add(self, app_index: int, parts: tuple[Part, ...]) -> bool:
        """Take a plan into the pool, and return whether it was not there.

        Parameters
        ----------
        app_index
            Position of the app.
        parts
            Its parts.
        """
        if (app_index, parts) in self._pool:
            return False
        self._pool[app_index, parts] = make_column(self.space, app_index, parts)
        return True

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
        columns = [one for index in range(len(self.space.apps)) for one in enumerated(self.space, index)]
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

    def _left_s(self) -> float:
        return self.deadline - time.monotonic()

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
        for _ in range(_MOST_ROUNDS):
            size = len(self._pool)
            relaxed, bound, columns = self._step(longest_s, fixed, forbidden)
            if relaxed is None or bound > longest_s * (1 + _TOLERANCE) or self._left_s() <= 0:
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
            limit = float(relaxed.worth[index]) + max(0.0, objective - relaxed.value) + _TOLERANCE
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

    def _bisected(self, low: float, high: float) -> float:
        """Return the shortest period that is not refused, to a tenth of the gap."""
        best = high
        while high > low * (1 + self.gap / 10) and best > low * (1 + self.gap / 2) and self._left_s() > 0:
            middle = (low * high) ** 0.5 if low > 0 else high / 2
            is_refused = self._is_refused(middle)
            if is_refused is None:
                break
            low, high = (middle, high) if is_refused else (low, middle)
        return low

    def _is_refused(self, period_s: float) -> bool | None:
        """Say whether no choice can have a period; None where the time was up before that was clear."""
        for _ in range(_MOST_ROUNDS):
            size = len(self._pool)
            relaxed, bound, _ = self._step(period_s)
            if relaxed is None or bound > period_s * (1 + _TOLERANCE):
                return True
            if relaxed.unserved < 1e-7 and relaxed.value <= period_s:
                return False
            if len(self._pool) == size:
                # Rounding alone keeps the bound from the period.
                return None
            if self._left_s() <= 0:
                return None
        return None

    def _converged(self, horizon_s: float) -> float | None:
        """Generate plans until the relaxation is solved, and return its value; None where apps have no plan in it."""
        bound = 0.0
        for _ in range(_MOST_ROUNDS):
            size = len(self._pool)
            relaxed, at_least, _ = self._step(horizon_s)
            if relaxed is None:
                return None
            bound = max(bound, at_least)
            if len(self._pool) == size or at_least >= relaxed.value * (1 - self.gap / 10) and relaxed.unserved < 1e-7:
                return None if relaxed.unserved > 1e-6 else bound
            if self._left_s() <= 0:
                break
        return bound

    def _step(
        self,
        longest_s: float,
        fixed: Mapping[int, Column] = MappingProxyType({}),
        forbidden: Collection[tuple[int, tuple[Part, ...]]] = (),
    ) -> tuple[Relaxed | None, float, list[Column]]:
        """Solve the relaxation over plans without long parts, and add the plans it asks for.

        Returns it with the bound that its prices give and its columns, or None where an app has no plan at all.
        """
        is_open = not np.isfinite(longest_s)
        columns = [
            one
            for one in (self._pool.values() if is_open else self._within(longest_s))
            if one.app not in fixed and (one.app, one.parts) not in forbidden
        ]
        columns += fixed.values()
        # Without a period, fixed rates ask for nothing yet: the bound holds however short it is.
        frames = frames_in(self.space, 0.0 if is_open else longest_s)
        programme = Programme(self.space, columns, frames, self.most_period_s)
        relaxed = programme.relaxed(self._unserved_cost(columns, frames))
        bound = relaxed.value
        for index, pricer in enumerate(self._pricers):
            if index in fixed:
                continue
            plans = pricer.cheapest(relaxed.prices, float(frames[index]), longest_s)
            if not plans:
                return None, np.inf, columns
            bound += min(0.0, plans[0][0] - float(relaxed.worth[index]))
            for price, parts in plans:
                if price < relaxed.worth[index] - _TOLERANCE:
                    self.add(index, parts)
        return relaxed, bound, columns

    def _unserved_cost(self, columns: Sequence[Column], frames: FloatArray) -> float:
        """Return more than any app's plan is worth."""
        if self.most_period_s is not None:
            return 1e3 * max((abs(one.energy_j) * float(frames[one.app]) for one in columns), default=1.0)
        return 1e2 * max((one.total_s * float(frames[one.app]) for one in columns), default=1.0)

    def _within(self, longest_s: float) -> list[Column]:
        frames = frames_in(self.space, longest_s)
        limit = longest_s * (1 + _TOLERANCE)
        return [one for one in self._pool.values() if float(one.busy_s.max()) * frames[one.app] <= limit]

    def _bound_of(self, columns: list[Column], objective: float) -> float:
        horizon = objective if self.most_period_s is None else self.most_period_s
        relaxed = Programme(self.space, columns, frames_in(self.space, horizon), self.most_period_s).relaxed(1e6)
        return relaxed.value

    def _chosen(
        self, columns: list[Column], before: list[Column] | None, gap: float, most_s: float = np.inf
    ) -> tuple[list[Column], float, bool] | None:
        """Choose among columns; with fixed rates, again at the period found, until it falls no more."""
        has_rates = any(one.rate_hz is not None for one in self.space.apps)
        period = self.most_period_s
        if period is None:
            period = 1.0 if before is None or not has_rates else period_of(self.space, before)
        if period is not None and has_rates and before is None and self.most_period_s is None:
            period = _long_period(self.space, columns)
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


def _long_period(space: VirtualSpace, columns: Sequence[Column]) -> float:
    """Return a period that is longer than any choice needs, as long as fixed rates leave room at all."""
    longest = [0.0] * len(space.apps)
    for column in columns:
        longest[column.app] = max(longest[column.app], float(column.busy_s.max()))
    free = sum(one.frames * seconds for one, seconds in zip(space.apps, longest, strict=True) if one.rate_hz is None)
    return 1e3 * free if free > 0 else 1.0
