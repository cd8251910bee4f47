"""Fronts of round latency against client memory, energy or progress, by exact epsilon-constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np

from hybridsplit.orchestrator.studies.front import Axis, ParetoFront, ParetoPoint, front_over
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure, UsageError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan

_BISECTIONS = 12
_STRATEGY = "static"
"""A front is of proven points: of a point that is not, nobody knows whether the limit or the search made it."""


def pareto_front(
    scenario: Scenario,
    options: OptionTable,
    axis: str,
    num_points: int,
    on_progress: Callable[[float], None] = lambda done: None,
) -> ParetoFront:
    """Plan for the least latency under limits, the next one where the front is known least.

    Parameters
    ----------
    scenario, options
        The scenario and its option table; its own limits hold as well.
    axis
        ``memory``: every client keeps within a share of its budget. ``energy``: a cap on all clients together.
        ``progress``: a least progress.
    num_points
        Plans to make, at most.
    on_progress
        Called with the part that is done.

    Raises
    ------
    UsageError
        If there is no such axis.
    InfeasibleError
        If the scenario has no plan at all, or energy is an axis and unknown.
    """
    base = _with_objective(scenario, minimise="round-latency")
    return front_over(_CutFront(base, options, _axis(axis)), num_points, on_progress)


def _axis(name: str) -> Axis:
    for axis in get_args(Axis):
        if axis == name:
            return cast("Axis", axis)
    raise UsageError(f"unknown axis {name!r}; needs one of {', '.join(get_args(Axis))}")


@dataclass(frozen=True)
class _CutFront:
    """Plans with one cut a client under a limit."""

    scenario: Scenario
    options: OptionTable
    axis: Axis

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def minimised(self) -> str:
        return "round latency"

    def ends(self) -> tuple[float, float]:
        return _ends(self.scenario, self.options, self.axis)

    def solve(self, limit: float, earlier: Plan | None) -> tuple[ParetoPoint, Plan]:
        limited, table = _limited(self.scenario, self.options, self.axis, limit)
        plan = make_plan(limited, table, _STRATEGY, warm_start=earlier)
        return ParetoPoint(_figure(plan, self.axis), limit, plan.round_latency_s, plan.lower_bound_s), plan


def _with_objective(scenario: Scenario, **keys: Any) -> Scenario:
    document = scenario.model_dump(mode="json")
    document["objective"].update(keys)
    return validate_scenario(document, f"the scenario {scenario.name} for a Pareto front")


def _limited(scenario: Scenario, options: OptionTable, axis: str, limit: float) -> tuple[Scenario, OptionTable]:
    if axis == "memory":
        table = options.table.copy()
        within = table["client_peak_bytes"] <= limit * table["memory_budget_bytes"]
        return scenario, OptionTable(table.assign(fits=table["fits"] & within))
    if axis == "energy":
        return _with_objective(scenario, energy_cap_j=limit), options
    return _with_objective(scenario, minimum_progress=limit), options


def _figure(plan: Plan, axis: str) -> float:
    if axis == "memory":
        return max(client.client_peak_bytes / client.memory_budget_bytes for client in plan.clients)
    if axis == "energy":
        return sum(client.client_energy_j or 0.0 for client in plan.clients)
    return plan.progress


def _ends(scenario: Scenario, options: OptionTable, axis: str) -> tuple[float, float]:
    """Tightest limit that has a plan, and one that binds no more."""
    if axis == "progress":
        free = make_plan(scenario, options, _STRATEGY)
        return _largest_feasible(scenario, options, free.progress), free.progress * (1 - 1e-9)
    if axis == "energy":
        least = make_plan(_with_objective(scenario, minimise="energy"), options, _STRATEGY)
        assert least.objective_j is not None
        return least.objective_j * (1 + 1e-9), _figure(
            make_plan(_with_objective(scenario, energy_cap_j=1e30), options, _STRATEGY), axis
        )
    fitting = options.fitting()
    share = fitting["client_peak_bytes"] / fitting["memory_budget_bytes"]
    tight = float(share.groupby(fitting["client"]).min().max())
    loose = _figure(make_plan(scenario, options, _STRATEGY), axis)
    for limit in np.unique(share[share >= tight]):
        # Server memory or other limits may need more than the leanest option of every client.
        try:
            make_plan(*_limited(scenario, options, axis, float(limit)), _STRATEGY)
        except InfeasibleError:
            continue
        return float(limit), loose
    return loose, loose


def _largest_feasible(scenario: Scenario, options: OptionTable, known: float) -> float:
    """Largest least progress that has a plan: every client's best option if they go together, else by bisection."""
    table = options.fitting()
    low, high = known, float((table["data_weight"] * table["progress"]).groupby(table["client"]).max().sum())
    middle = high * (1 - 1e-9)
    for _ in range(_BISECTIONS):
        try:
            low = max(low, make_plan(_with_objective(scenario, minimum_progress=middle), options, _STRATEGY).progress)
        except (InfeasibleError, SolverFailure):
            high = middle
        if low >= high * (1 - 1e-6):
            break
        middle = 0.5 * (low + high)
    return min(low, 1.0) * (1 - 1e-9)
