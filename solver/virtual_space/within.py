"""Choices within a given period: column generation at a node of the search, and a depth-first search over decisions.

At a node, the relaxation prices all limits, and the cheapest plan of every app at these prices is added until none
pays. The bound of a node holds for all plans, generated or not: what plans of all apps cost at least at the prices,
less what the limits are worth. A period is refused where the bound of every node says that an app stays without a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import RX, TX, Column, Part
from hybridsplit.solver.virtual_space.decisions import RULES, Decision, Question, Rule, answers, keeps, undecided
from hybridsplit.solver.virtual_space.loads import IS_LIMIT, NUM_LIMITS, AppLoads, app_loads, unit_rows
from hybridsplit.solver.virtual_space.paths import Plans, cheapest_paths
from hybridsplit.solver.virtual_space.periods import fits_memories, frames_in, period_of
from hybridsplit.solver.virtual_space.pool import Clock, Pool
from hybridsplit.solver.virtual_space.relaxation import LimitPrices, Relaxation, Relaxed

_UNSERVED_COST = 1e3
"""What an app without a plan costs, where any choice within the limits costs 1 at most."""
UNSERVED = 1e-7
"""Share of an app's plan that counts as missing; tolerances of the solver are far below."""
IN_LIMITS = 1.0 + 1e-6
"""What no choice within the limits costs."""
_PAYS = 1e-9
_PLANS_AT_ONCE = 8
_CLOSE = 0.05
"""Relative distance from the best relaxation at which to go on."""

Allowed = tuple[BoolArray, ...]
"""For every app, [2, D, L + 1, L + 1] the ranges that may stay, and those that may be loaded."""


@dataclass(frozen=True)
class Answer:
    """What a search within a period came to.

    Parameters
    ----------
    choice
        One plan of every app within the period, and below the cost that was asked for; None where none was found.
    is_refused
        Whether there is none.
    """

    choice: tuple[Column, ...] | None
    is_refused: bool


@dataclass(frozen=True)
class _Node:
    relaxed: Relaxed | None
    """None where no choice can be here."""
    is_settled: bool = True
    """Whether the time sufficed."""


@dataclass
class WithinPeriod:
    """Searches for choices within a period.

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
        self._relaxation = Relaxation(num_apps, num_devices, _UNSERVED_COST)

    def cost_of(self, joules: float) -> float:
        """Return what a choice of so many joules a period costs.

        Parameters
        ----------
        joules
            Joules of a period.
        """
        return joules / self._most_j if self._most_j > 0 else 0.0

    def search(
        self,
        clock: Clock,
        most_cost: float = IN_LIMITS,
        most_nodes: float = np.inf,
        rule: Rule = RULES[0],
        fixed: Mapping[int, Column] = MappingProxyType({}),
    ) -> Answer:
        """Search for a choice that costs no more than stated.

        Parameters
        ----------
        clock
            Says when to stop.
        most_cost
            Highest cost of a choice.
        most_nodes
            Nodes after which to stop.
        rule
            Which decision comes next.
        fixed
            Plans of apps that are to stay as they are.
        """
        self._banned.clear()
        waiting: list[Allowed] = [self._with(fixed)]
        nodes = 0
        while waiting:
            if nodes >= most_nodes:
                return Answer(None, False)
            nodes += 1
            allowed = waiting.pop()
            node = self._relaxed_at(allowed, most_cost, clock)
            if not node.is_settled:
                return Answer(None, False)
            if node.relaxed is None:
                continue
            chosen = [pair for pair in zip(self._columns, node.relaxed.weights.tolist(), strict=True) if pair[1] > 0]
            choice = self._rounded(chosen, most_cost)
            if choice is not None:
                return Answer(choice, False)
            decision = undecided(chosen, self._weight, rule) or _first_open(chosen, allowed)
            if decision is None:
                # One plan of every app is left, and they are too much together.
                continue
            waiting += [_branch(allowed, decision.other()), _branch(allowed, decision)]
        return Answer(None, True)

    def dive(
        self,
        clock: Clock,
        most_cost: float = IN_LIMITS,
        retries: int = 4,
    ) -> tuple[Column, ...] | None:
        """Fix one app after another to the plan that the relaxation likes best; None where that leads nowhere.

        Parameters
        ----------
        clock
            Says when to stop.
        most_cost
            Highest cost of a choice.
        retries
            How often a plan that leaves no way on is given up.
        """
        fixed: dict[int, Column] = {}
        self._banned.clear()
        while True:
            node = self._relaxed_at(self._with(fixed), most_cost, clock)
            if node.relaxed is None:
                if not node.is_settled or not fixed or retries == 0:
                    return None
                retries -= 1
                _, column = fixed.popitem()
                self._banned.add(next(index for index, one in enumerate(self._columns) if one is column))
                continue
            chosen = [pair for pair in zip(self._columns, node.relaxed.weights.tolist(), strict=True) if pair[1] > 0]
            choice = self._rounded(chosen, most_cost)
            left = [pair for pair in chosen if pair[0].app not in fixed]
            if choice is not None or not left:
                return choice
            whole = [column for column, weight in left if weight > 1 - 1e-6]
            for column in whole or [max(left, key=lambda pair: pair[1])[0]]:
                fixed[column.app] = column

    def _with(self, fixed: Mapping[int, Column]) -> Allowed:
        """Return all that is allowed with some apps fixed."""
        return tuple(
            _only(fixed[index], may_be) & may_be if index in fixed else may_be
            for index, may_be in enumerate(self._root)
        )

    def is_refused(self, clock: Clock, most_cost: float = IN_LIMITS) -> bool | None:
        """Say whether the relaxation alone refuses every choice; None where the time was up before that was clear.

        Parameters
        ----------
        clock
            Says when to stop.
        most_cost
            Highest cost of a choice.
        """
        node = self._relaxed_at(tuple(self._root), most_cost, clock)
        return node.relaxed is None if node.is_settled else None

    def least_j(self, clock: Clock) -> float | None:
        """Return the joules that every choice takes at least by the relaxation; None where there is no choice.

        Parameters
        ----------
        clock
            Says when to stop.
        """
        best, self._has_costs = 0.0, True
        while not clock.is_over():
            relaxed, at_least, is_last = self._step(tuple(self._root))
            if relaxed is None or at_least > IN_LIMITS:
                return None
            best = max(best, at_least)
            if is_last or at_least >= relaxed.value * (1 - 1e-6):
                break
        return best * self._most_j

    def _relaxed_at(self, allowed: Allowed, most_cost: float, clock: Clock) -> _Node:
        """Solve the relaxation of a node as far as is needed to refuse it or to go on.

        Where less is missing than what plans cost could account for, it is solved again with plans for nothing.
        """
        self._has_costs = True
        while not clock.is_over():
            relaxed, at_least, is_last = self._step(allowed)
            most = most_cost if self._has_costs else _UNSERVED_COST * UNSERVED
            if relaxed is None or at_least > most:
                return _Node(None)
            is_served = relaxed.unserved <= UNSERVED
            if is_last and not is_served and self._has_costs:
                self._has_costs = False
            elif is_last or (is_served and at_least >= relaxed.value * (1 - _CLOSE)):
                return _Node(relaxed)
        return _Node(None, is_settled=False)

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
            at_least += min(_UNSERVED_COST, plans[0][0])
            for price, parts in plans:
                if price < relaxed.worth[index] - _PAYS * _UNSERVED_COST:
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

    def _weight(self, decision: Decision) -> float:
        """Return how much is at stake in a decision."""
        loads = self._loads[decision.app]
        if decision.question is Question.CUT:
            return loads.hop_share(decision.place)
        return loads.layer_share(decision.place)

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

    def _rounded(self, chosen: list[tuple[Column, float]], most_cost: float) -> tuple[Column, ...] | None:
        """Take the plan of every app that weighs most, if that fits."""
        best: dict[int, tuple[Column, float]] = {}
        for column, weight in chosen:
            if column.app not in best or weight > best[column.app][1]:
                best[column.app] = column, weight
        if len(best) < len(self.space.apps):
            return None
        choice = tuple(best[index][0] for index in range(len(self.space.apps)))
        if (self.is_energy and sum(self._cost(one) for one in choice) > most_cost) or period_of(
            self.space, choice
        ) > self.period_s * (1 + 1e-9):
            return None
        return choice if fits_memories(self.space, choice) else None


def _branch(allowed: Allowed, decision: Decision) -> Allowed:
    """Return what a decision leaves."""
    left = decision.narrowed(allowed[decision.app])
    return (*allowed[: decision.app], left, *allowed[decision.app + 1 :])


def _first_open(chosen: list[tuple[Column, float]], allowed: Allowed) -> Decision | None:
    """Return a decision for the plans chosen that something else is left by; None where nothing else is left."""
    for column, _ in chosen:
        for decision in answers(column):
            if (decision.narrowed(allowed[column.app]) != allowed[column.app]).any():
                return decision
    return None


def _only(column: Column, like: BoolArray) -> BoolArray:
    """Return the ranges of one plan alone."""
    allowed = np.zeros_like(like)
    for one in column.parts:
        allowed[int(one.reloads), one.device, one.start, one.end] = True
    return allowed


def _positions(parts: tuple[Part, ...], like: BoolArray, number: int) -> tuple[int, ...]:
    """Return where so many of a plan's parts stand in an array of ranges, the last one repeated."""
    places = [
        int(np.ravel_multi_index((int(one.reloads), one.device, one.start, one.end), like.shape)) for one in parts
    ]
    return (*places, *[places[-1]] * (number - len(places)))
