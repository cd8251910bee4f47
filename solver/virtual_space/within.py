"""Choices within a given period: column generation at every node of a depth-first search over decisions.

At a node, the relaxation prices all limits, and the cheapest plan of every app at these prices is added until none
pays. The bound of a node holds for all plans, generated or not: what plans of all apps cost at least at the prices,
less what the limits are worth. A period is refused where the bound of every node says that an app stays without a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray
from hybridsplit.solver.virtual_space.columns import Column
from hybridsplit.solver.virtual_space.decisions import RULES, Decision, Question, Rule, answers, undecided
from hybridsplit.solver.virtual_space.generation import UNSERVED_COST, Allowed, Generation
from hybridsplit.solver.virtual_space.periods import fits_memories, period_of
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.relaxation import Relaxed

UNSERVED = 1e-7
"""Share of an app's plan that counts as missing; tolerances of the solver are far below."""
IN_LIMITS = 1.0 + 1e-6
"""What no choice within the limits costs."""
_CLOSE = 0.05
"""Relative distance from the best relaxation at which to go on."""


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


class WithinPeriod(Generation):
    """Searches for choices within a period."""

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
            most = most_cost if self._has_costs else UNSERVED_COST * UNSERVED
            if relaxed is None or at_least > most:
                return _Node(None)
            is_served = relaxed.unserved <= UNSERVED
            if is_last and not is_served and self._has_costs:
                self._has_costs = False
            elif is_last or (is_served and at_least >= relaxed.value * (1 - _CLOSE)):
                return _Node(relaxed)
        return _Node(None, is_settled=False)

    def _weight(self, decision: Decision) -> float:
        """Return how much is at stake in a decision."""
        loads = self._loads[decision.app]
        if decision.question is Question.CUT:
            return loads.hop_share(decision.place)
        return loads.layer_share(decision.place)

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
