"""Column generation within a given period: the relaxation prices all limits, and asks for plans until none pays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import RX, TX, Column, Part
from hybridsplit.solver.virtual_space.decisions import keeps
from hybridsplit.solver.virtual_space.loads import IS_LIMIT, NUM_LIMITS, AppLoads, app_loads, unit_rows
from hybridsplit.solver.virtual_space.paths import Plans, cheapest_paths
from hybridsplit.solver.virtual_space.periods import frames_in
from hybridsplit.solver.virtual_space.pool import Pool
from hybridsplit.solver.virtual_space.relaxation import LimitPrices, Relaxation, Relaxed

UNSERVED_COST = 1e3
"""What an app without a plan costs, where any choice within the limits costs 1 at most."""
_PAYS = 1e-9
_PLANS_AT_ONCE = 8

Allowed = tuple[BoolArray, ...]
"""For every app, [2, D, L + 1, L + 1] the ranges that may stay, and those that may be loaded."""


@dataclass
class Generation:
    """Generates plans within a period.

    Parameters
    ----------
    space
        The space.
    period_s
        The period.
    pool
        Plans generated so far; more are added.
    is_energy
        Whether plans cost their joules, relative to those of all units that are busy all the time; they cost their
        shares of all limits otherwise, so that of plans that serve all apps those come first that leave room.
    """

    space: VirtualSpace
    period_s: float
    pool: Pool
    is_energy: bool = False
    _loads: list[AppLoads] = field(default_factory=list)
    _root: list[BoolArray] = field(default_factory=list)
    _columns: list[Column] = field(default_factory=list)
    _num_seen: int = 0
    _has_costs: bool = True
    _banned: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._frames = frames_in(self.space, self.period_s)
        cache: dict[tuple[str, float], AppLoads] = {}
        for app, frames in zip(self.space.apps, self._frames, strict=True):
            key = app.model, float(frames)
            if key not in cache:
                cache[key] = app_loads(self.space, app, float(frames), self.period_s)
            self._loads.append(cache[key])
            self._root.append(cache[key].is_possible[:, cache[key].class_of])
        self._of_app: list[list[int]] = [[] for _ in self._loads]
        self._ranges: list[list[tuple[int, ...]]] = [[] for _ in self._loads]
        self._active_w = np.array([one.active_power_w or 0.0 for one in self.space.devices])
        self._radio_w = np.array([one.radio_power_w or 0.0 for one in self.space.devices])
        self._most_j = self.period_s * float(self._active_w.sum() + 2 * self._radio_w.sum())
        num_apps, num_devices = len(self.space.apps), len(self.space.devices)
        self._share_cost = 0.0 if self.is_energy else 1.0 / (num_devices * NUM_LIMITS)
        self._relaxation = Relaxation(num_apps, num_devices, UNSERVED_COST)

    def cost_of(self, joules: float) -> float:
        """Return what a choice of so many joules a period costs.

        Parameters
        ----------
        joules
            Joules of a period.
        """
        return joules / self._most_j if self._most_j > 0 else 0.0

    def _step(self, allowed: Allowed) -> tuple[Relaxed | None, float, bool]:
        """Solve the relaxation once and add the plans it asks for: with its bound, and whether it asked for none.

        The relaxation is None where an app has no plan at all.
        """
        self._take_pool()
        self._relaxation.count_costs(self._has_costs)
        self._allow(allowed)
        relaxed = self._relaxation.solve()
        at_least, is_last = -relaxed.prices.paid, True
        for index, may_be in enumerate(allowed):
            plans = self._cheapest(index, relaxed.prices, may_be)
            if not plans:
                return None, np.inf, True
            at_least += min(UNSERVED_COST, plans[0][0])
            for price, parts in plans:
                if price < relaxed.worth[index] - _PAYS * UNSERVED_COST:
                    is_last &= not self.pool.add(index, parts)
        return relaxed, at_least, is_last

    def _take_pool(self) -> None:
        """Add the plans of the pool that can be within the period."""
        for column in self.pool.columns[self._num_seen :]:
            index = column.app
            if not keeps(self._root[index], column.parts):
                continue
            app, loads = self.space.apps[index], self._loads[index]
            taken = loads.taken(app.source, app.target, column.parts)
            cost = self._cost(column) + self._share_cost * float(taken[:, IS_LIMIT].sum())
            self._relaxation.add(index, cost, taken, loads.loaded(column.parts))
            self._of_app[index].append(len(self._columns))
            self._ranges[index].append(_positions(column.parts, self._root[index], self.space.most_cuts + 1))
            self._columns.append(column)
        self._num_seen = len(self.pool.columns)

    def _allow(self, allowed: Allowed) -> None:
        """Allow the plans of a node, and no others."""
        is_allowed = np.zeros(len(self._columns), dtype=bool)
        for may_be, positions, ranges in zip(allowed, self._of_app, self._ranges, strict=True):
            if positions:
                # Plans of fewer parts name one of them again.
                is_allowed[positions] = may_be.ravel()[np.array(ranges)].all(axis=1)
        is_allowed[list(self._banned)] = False
        self._relaxation.allow(is_allowed)

    def _cost(self, column: Column) -> float:
        return self.cost_of(column.energy_j * float(self._frames[column.app])) if self.is_energy else 0.0

    def _cheapest(self, index: int, prices: LimitPrices, allowed: BoolArray) -> Plans:
        """Return the cheapest plans of an app at prices of limits."""
        loads, app = self._loads[index], self.space.apps[index]
        limits, per_j = prices.limits, self.cost_of(float(self._has_costs))
        if self._has_costs:
            limits = limits + self._share_cost * IS_LIMIT
        stays, loaded = loads.part_prices(limits, self._active_w * per_j if self.is_energy else None)
        loaded = loaded + prices.loading[index][:, None, None] * loads.loading[loads.class_of]
        radio = self._radio_w * (per_j if self.is_energy else 0.0)
        hop = loads.hop_prices(limits[:, unit_rows(TX)], limits[:, unit_rows(RX)], radio)
        priced = np.where(allowed[0], stays, np.inf), np.where(allowed[1], loaded, np.inf)
        return cheapest_paths(*priced, hop, (app.source, app.target), self.space.most_cuts + 1, _PLANS_AT_ONCE)


def _positions(parts: tuple[Part, ...], like: BoolArray, number: int) -> tuple[int, ...]:
    """Return where so many of a plan's parts stand in an array of ranges, the last one repeated."""
    places = [
        int(np.ravel_multi_index((int(one.reloads), one.device, one.start, one.end), like.shape)) for one in parts
    ]
    return (*places, *[places[-1]] * (number - len(places)))
