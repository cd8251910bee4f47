"""One combination of a what-if study over relays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hybridsplit.orchestrator.relays.pareto import fullest_share
from hybridsplit.orchestrator.relays.planning import plan_relays
from hybridsplit.orchestrator.studies.what_if_cells import Cell, Trained, cell_of_cut, price_of
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.strategies import find_relay_strategy
from hybridsplit.solver.strategies import find_strategy


def cell_of_relays(values: Mapping[str, str], scenario: Trained, strategy: str) -> Cell:
    """Plan a scenario over relays, and return its cell; its cost is that of all clients and nodes.

    Parameters
    ----------
    values
        The values by key, as they were given.
    scenario
        The scenario with these values.
    strategy
        Name of a strategy.

    Raises
    ------
    InfeasibleError, SolverFailure
        If no placement keeps the limits, or it does not pass verification.
    """
    assert isinstance(scenario, RelayScenario), "its network makes a scenario one of relays, and is no single key"
    plan = plan_relays(scenario, strategy)
    return Cell(
        values,
        round_latency_s=plan.value_s if scenario.trains else None,
        objective=plan.value_s,
        gap=plan.gap,
        fullest_share=fullest_share(plan, scenario),
        cost=price_of(_machines(scenario), scenario.devices),
    )


def _machines(scenario: RelayScenario) -> Iterator[tuple[str, int]]:
    for group in scenario.clients:
        yield group.device, group.count
    for node in scenario.network.nodes:
        if node.device is not None:
            yield node.device, node.replicas


def cells_by(scenario: Trained, strategy: str) -> Callable[[Mapping[str, str], Trained, str], Cell]:
    """Return what plans a scenario of this kind for a cell.

    Parameters
    ----------
    scenario, strategy
        What is varied, and how it is planned.

    Raises
    ------
    UsageError
        If there is no strategy of that name.
    """
    if isinstance(scenario, RelayScenario):
        find_relay_strategy(strategy)
        return cell_of_relays
    find_strategy(strategy)
    return cell_of_cut
