"""One combination of a what-if study: the scenario that it is, and what of its plan is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hybridsplit.orchestrator.plan_words import energy_j
from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.devices import Device, find_device
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.schema import Scenario

Trained: TypeAlias = Scenario | RelayScenario
"""What is varied: a scenario of one cut, or over relays."""


@dataclass(frozen=True)
class Cell:
    """One combination, and the plan for it.

    Parameters
    ----------
    values
        The values by key, as they were given.
    round_latency_s, objective, gap
        Of the plan: what a round takes, the value of what is minimised (seconds, or joules where energy is), and the
        relative distance from the bound.
    fullest_share
        Largest peak of a client as a fraction of its budget.
    energy_j
        Of the clients whose energy is known, a round; None where it is known of none.
    cost
        Price of all clients' devices; None where one of them states none.
    infeasible
        Why there is no plan; empty where there is one.
    """

    values: Mapping[str, str]
    round_latency_s: float | None = None
    objective: float | None = None
    gap: float | None = None
    fullest_share: float | None = None
    energy_j: float | None = None
    cost: float | None = None
    infeasible: str = ""


def cell_of_cut(values: Mapping[str, str], scenario: Trained, strategy: str) -> Cell:
    """Plan a scenario of one cut, and return its cell.

    Parameters
    ----------
    values
        The values by key, as they were given.
    scenario
        The scenario with these values.
    strategy
        How to plan.

    Raises
    ------
    InfeasibleError, SolverFailure
        If there is no plan, or a solver stopped.
    """
    assert isinstance(scenario, Scenario), "its network makes a scenario one of relays, and is no single key"
    plan = plan_as_asked(scenario, profile_scenario(scenario), strategy)
    return Cell(
        values,
        round_latency_s=plan.round_latency_s,
        objective=plan.objective_s if plan.objective_j is None else plan.objective_j,
        gap=plan.gap,
        fullest_share=max(client.client_peak_bytes / client.memory_budget_bytes for client in plan.clients),
        energy_j=energy_j(plan.clients),
        cost=price_of(((group.device, group.count) for group in scenario.clients), scenario.devices),
    )


def price_of(devices: Iterable[tuple[str, int]], own: Mapping[str, Device]) -> float | None:
    """Return the price of devices; None where one of them states none.

    Parameters
    ----------
    devices
        Their names, and how many of each.
    own
        Devices of the scenario's own.
    """
    prices = [(find_device(name, own, "device").price, count) for name, count in devices]
    if any(price is None for price, _ in prices):
        return None
    return math.fsum(price * count for price, count in prices if price is not None)
