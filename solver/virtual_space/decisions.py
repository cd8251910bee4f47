"""What a branch of the search decides about the plans of an app: where it is cut, what runs where, what is loaded.

Every decision forbids ranges of layers, and nothing else, so that the cheapest plan within a branch is still a path.
Once all are made, one plan of every app is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray
from hybridsplit.solver.virtual_space.columns import Column, Part

_WHOLE = 1e-6


class Question(StrEnum):
    """What is decided."""

    CUT = "cut"
    """Whether a plan changes the device at a place."""
    DEVICE = "device"
    """Whether a layer runs on a device."""
    LOADED = "loaded"
    """Whether the weights of a layer are loaded for every frame."""


@dataclass(frozen=True, order=True)
class Decision:
    """One decision about the plans of an app.

    Parameters
    ----------
    question
        What is decided.
    app
        Position of the app.
    place
        The place between layers, or the layer.
    device
        Position of the device, where that is asked.
    holds
        The answer.
    """

    question: Question
    app: int
    place: int
    device: int = 0
    holds: bool = True

    def other(self) -> Decision:
        """Return the opposite decision."""
        return replace(self, holds=not self.holds)

    def narrowed(self, allowed: BoolArray) -> BoolArray:
        """Return which ranges a decision leaves of those that are allowed.

        Parameters
        ----------
        allowed
            [2, D, L + 1, L + 1] ranges that stay, and ranges that are loaded.
        """
        places = np.arange(allowed.shape[2])
        left = allowed.copy()
        if self.question is Question.CUT:
            if self.holds:
                left &= ~((places < self.place)[:, None] & (places > self.place)[None, :])
            else:
                left &= (places != self.place)[None, :] & (places != self.place)[:, None]
            return left
        covers = (places <= self.place)[:, None] & (places > self.place)[None, :]
        if self.question is Question.LOADED:
            left[0 if self.holds else 1] &= ~covers
        elif self.holds:
            left[:, np.arange(left.shape[1]) != self.device] &= ~covers
        else:
            left[:, self.device] &= ~covers
        return left


def keeps(allowed: BoolArray, parts: Iterable[Part]) -> bool:
    """Return whether all parts of a plan are allowed.

    Parameters
    ----------
    allowed
        [2, D, L + 1, L + 1] ranges that stay, and ranges that are loaded.
    parts
        The parts.
    """
    return all(bool(allowed[int(one.reloads), one.device, one.start, one.end]) for one in parts)


@dataclass(frozen=True)
class Rule:
    """Which decision comes next.

    Parameters
    ----------
    first
        The question that is settled before others; None where none is.
    is_likeliest
        Whether the answer that the relaxation is surest of comes first, which finds choices; the one that it is least
        sure of otherwise, which refuses sooner.
    """

    first: Question | None
    is_likeliest: bool


RULES = (
    Rule(Question.DEVICE, is_likeliest=True),
    Rule(Question.CUT, is_likeliest=True),
    Rule(Question.CUT, is_likeliest=False),
    Rule(Question.DEVICE, is_likeliest=False),
    Rule(None, is_likeliest=True),
)
"""In the order in which they are tried."""


def undecided(
    chosen: Iterable[tuple[Column, float]], weight_of: Callable[[Decision], float], rule: Rule
) -> Decision | None:
    """Return the next decision, with its likelier answer; None where the relaxation leaves none open.

    Parameters
    ----------
    chosen
        Plans of all apps, and how much of each is chosen.
    weight_of
        How much is at stake: what a layer or a transfer takes.
    rule
        Which decision comes next.
    """
    shares: dict[Decision, float] = {}
    for column, weight in chosen:
        if _WHOLE < weight < 1 - _WHOLE:
            for decision in filter(lambda one: one.holds, answers(column)):
                shares[decision] = shares.get(decision, 0.0) + weight
    open_ones = {one: share for one, share in shares.items() if _WHOLE < share < 1 - _WHOLE}
    if not open_ones:
        return None

    def order(one: Decision) -> tuple[bool, float, Decision]:
        share = open_ones[one] if rule.is_likeliest else min(open_ones[one], 1 - open_ones[one])
        return one.question is rule.first, share * weight_of(one), one

    found = max(open_ones, key=order)
    return found if open_ones[found] >= 0.5 else found.other()


def answers(column: Column) -> Iterator[Decision]:
    """Yield all decisions that a plan follows, which leave no other plan of its app together.

    Parameters
    ----------
    column
        The plan.
    """
    for one in column.parts:
        if one.start > 0:
            yield Decision(Question.CUT, column.app, one.start)
        for layer in range(one.start, one.end):
            yield Decision(Question.DEVICE, column.app, layer, one.device)
            yield Decision(Question.LOADED, column.app, layer, holds=one.reloads)
