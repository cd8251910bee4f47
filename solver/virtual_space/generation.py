"""Column generation: a lower bound for all plans, and a choice among those that were generated.

The relaxation alone is a weak bound, since it splits apps among plans. A period P can be refused sooner: no plan in it
keeps a unit busy for longer than P by one part or hop, so that only plans with short parts and hops are priced for it
(as Lenstra, Shmoys and Tardos do for jobs on machines, 1990). The bound is the shortest period that is not refused,
found by bisection; every step ends as soon as its relaxation is below the period, or its Lagrangian bound above it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import Column, Part, make_column
from hybridsplit.solver.virtual_space.master import Programme, Relaxed
from hybridsplit.solver.virtual_space.periods import frames_in
from hybridsplit.solver.virtual_space.pricing import Pricer

TOLERANCE = 1e-9
MOST_ROUNDS = 400


@dataclass
class Generation:
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
        for _ in range(MOST_ROUNDS):
            size = len(self._pool)
            relaxed, bound, _ = self._step(period_s)
            if relaxed is None or bound > period_s * (1 + TOLERANCE):
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
        for _ in range(MOST_ROUNDS):
            size = len(self._pool)
            relaxed, at_least, _ = self._step(horizon_s)
            if relaxed is None:
                return None
            bound = max(bound, at_least)
            if len(self._pool) == size or (at_least >= relaxed.value * (1 - self.gap / 10) and relaxed.unserved < 1e-7):
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
                if price < relaxed.worth[index] - TOLERANCE:
                    self.add(index, parts)
        return relaxed, bound, columns

    def _unserved_cost(self, columns: Sequence[Column], frames: FloatArray) -> float:
        """Return more than any app's plan is worth."""
        if self.most_period_s is not None:
            return 1e3 * max((abs(one.energy_j) * float(frames[one.app]) for one in columns), default=1.0)
        return 1e2 * max((one.total_s * float(frames[one.app]) for one in columns), default=1.0)

    def _within(self, longest_s: float) -> list[Column]:
        frames = frames_in(self.space, longest_s)
        limit = longest_s * (1 + TOLERANCE)
        return [one for one in self._pool.values() if float(one.busy_s.max()) * frames[one.app] <= limit]

    def _left_s(self) -> float:
        return self.deadline - time.monotonic()
