"""Ways to make a plan, by name. A new strategy is one file here and one line in :data:`STRATEGIES`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from scenarios.errors import UsageError
from solver.strategies.base import Assignment, Strategy
from solver.strategies.fedavg import FedAvg
from solver.strategies.optimal import Optimal
from solver.strategies.splitfed import SplitFed

_ALL: tuple[Strategy, ...] = (Optimal(), SplitFed(), FedAvg())
STRATEGIES: Mapping[str, Strategy] = MappingProxyType({strategy.name: strategy for strategy in _ALL})
"""Name to strategy, in the order of lists and reports."""


def find_strategy(name: str) -> Strategy:
    """Return the strategy of a name.

    Raises
    ------
    UsageError
        If there is none; the message names the nearest.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    near = difflib.get_close_matches(name, STRATEGIES, n=1, cutoff=0.4)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(f"unknown strategy {name!r}; needs one of {', '.join(STRATEGIES)}{hint}")


__all__ = ["STRATEGIES", "Assignment", "Strategy", "find_strategy"]
