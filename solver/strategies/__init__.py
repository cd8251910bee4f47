"""Ways to make a plan, by name. A new strategy is one file here and one line in :data:`STRATEGIES`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from hybridsplit.scenarios.errors import InfeasibleError, UsageError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.strategies.base import Assignment, Strategy
from hybridsplit.solver.strategies.edgesplit import EdgeSplit
from hybridsplit.solver.strategies.fedavg import FedAvg
from hybridsplit.solver.strategies.greedy import Greedy
from hybridsplit.solver.strategies.ho_sfl import HoSfl
from hybridsplit.solver.strategies.hosl import Hosl
from hybridsplit.solver.strategies.hsfl import Hsfl
from hybridsplit.solver.strategies.optimal import Optimal
from hybridsplit.solver.strategies.random_choice import RandomChoice
from hybridsplit.solver.strategies.sfl_wireless import SflWireless
from hybridsplit.solver.strategies.smartsplit import SmartSplit
from hybridsplit.solver.strategies.split_sequential import SplitSequential
from hybridsplit.solver.strategies.splitfed import SplitFed
from hybridsplit.solver.strategies.time_shared import TimeShared

_ALL: tuple[Strategy, ...] = (
    Optimal(),
    TimeShared(),
    SflWireless(),
    EdgeSplit(),
    SmartSplit(),
    Hsfl(),
    HoSfl(),
    Hosl(),
    SplitFed(),
    SplitSequential(),
    FedAvg(),
    Greedy(),
    RandomChoice(),
)
STRATEGIES: Mapping[str, Strategy] = MappingProxyType({strategy.name: strategy for strategy in _ALL})
"""Name to strategy, in the order of lists and reports."""


TURN_TAKING = ("time-shared", "split-sequential")
"""Strategies under which the server serves one client after another."""


def require_turns(scenario: Scenario, name: str) -> None:
    """Refuse strategies that divide the server where the scenario has it serve one client after another.

    Raises
    ------
    InfeasibleError
        If ``training.server_model`` is ``shared-sequential`` and the strategy takes no turns.
    """
    if scenario.training.server_model == "shared-sequential" and name not in TURN_TAKING:
        raise InfeasibleError(
            f"{name}: training.server_model is shared-sequential, whose server serves one client after another, and "
            f"this strategy divides it among them; use the strategy {' or '.join(TURN_TAKING)}, or set "
            "training.server_model to shared-mean"
        )


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


__all__ = ["STRATEGIES", "TURN_TAKING", "Assignment", "Strategy", "find_strategy", "require_turns"]
