"""All strategies by name, ours and those of installed packages."""

from __future__ import annotations

from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.registry import Registry
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.strategies.base import Sharing, Strategy


def _name_of(strategy: Strategy) -> str:
    if not isinstance(strategy, Strategy):
        raise TypeError("it does not derive from hybridsplit.plugins.Strategy")
    if strategy.sharing not in Sharing or not strategy.summary:
        raise TypeError("its class needs a name, a summary, and one of the ways of sharing")
    return strategy.name


STRATEGIES: Registry[Strategy] = Registry("strategy", "hybridsplit.strategies", _name_of)
"""Name to strategy, in the order of lists and reports."""


def find_strategy(strategy: str | Strategy) -> Strategy:
    """Return a strategy given by name, or as it is.

    Raises
    ------
    UsageError
        If there is no strategy of this name; the message names the nearest.
    """
    return STRATEGIES.find(strategy) if isinstance(strategy, str) else strategy


def require_turns(scenario: Scenario, strategy: Strategy) -> None:
    """Refuse strategies that divide the server where the scenario has it serve one client after another.

    Raises
    ------
    InfeasibleError
        If ``training.server_model`` is ``shared-sequential`` and the strategy takes no turns.
    """
    if scenario.training.server_model == "shared-sequential" and strategy.divides_server:
        possible = " or ".join(name for name, other in STRATEGIES.items() if not other.divides_server)
        raise InfeasibleError(
            f"{strategy.name}: training.server_model is shared-sequential, whose server serves one client after "
            f"another, and this strategy divides it among them; use the strategy {possible}, or set "
            "training.server_model to shared-mean"
        )
