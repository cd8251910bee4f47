"""Edges of the input under every strategy: a verified plan or a typed error that says what to change."""

from __future__ import annotations

import math

import pytest

from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import ContractError, HybridSplitError, InfeasibleError
from hybridsplit.solver.planner import compute_bounds, make_plan
from hybridsplit.solver.search.joint import SearchResult
from hybridsplit.solver.strategies import STRATEGIES
from tests.solver.degenerate import CASES, NOBODY_CAN
from tests.solver.instances import Instance, make_table

OBJECTIVES = ("time-to-progress", "round-latency", "energy")
MODE_RESTRICTIONS = ("ho-sfl", "hosl", "fedavg")
"""Strategies that allow some modes only, so that an instance without them has no plan."""


@pytest.fixture(scope="module", params=list(enumerate(CASES)), ids=lambda param: str(param[1]).replace(" ", "-"))
def case(request: pytest.FixtureRequest) -> tuple[str, Instance, SearchResult | None]:
    """An instance with its bounds, None where no plan exists; link models and objectives alternate."""
    position, name = request.param
    instance = CASES[name](("fixed", "shannon")[position % 2], OBJECTIVES[position % 3])
    try:
        return name, instance, compute_bounds(instance.scenario, instance.table)
    except HybridSplitError:
        return name, instance, None


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_plan_or_a_reason(strategy: str, case: tuple[str, Instance, SearchResult | None]) -> None:
    name, instance, bounds = case
    assert (bounds is None) == (name in NOBODY_CAN)
    found = _plan_or_reason(instance, strategy, bounds)
    if isinstance(found, Plan):
        assert name not in NOBODY_CAN
        _is_whole(found)
    else:
        assert name in NOBODY_CAN or strategy in MODE_RESTRICTIONS or "no single cut" in found, found
        assert len(found) > 40


def _plan_or_reason(instance: Instance, strategy: str, bounds: SearchResult | None) -> Plan | str:
    try:
        return make_plan(instance.scenario, instance.table, strategy, bounds=bounds)
    except (InfeasibleError, ContractError) as error:
        return str(error)


def _is_whole(plan: Plan) -> None:
    """Check what the verifier, which has passed the plan, does not: every figure a reader sees is a number."""
    figures = (plan.objective_s, plan.round_latency_s, plan.lower_bound_s, plan.gap, plan.progress, plan.solve_s)
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


COSTS = ("client_compute_s", "server_compute_s", "client_energy_j", "progress", "data_weight")


@pytest.mark.parametrize("column", COSTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0])
def test_what_is_no_cost_is_refused_before_any_strategy(column: str, value: float) -> None:
    instance = CASES["equal options"]("fixed", "energy")
    row = instance.table.table.iloc[0].to_dict() | {column: value}
    if column == "client_energy_j" and math.isnan(value):
        assert len(make_table(instance.scenario, [row]).table) == 1
        return
    with pytest.raises(ContractError, match=rf"{column} = .* for client a-0"):
        make_table(instance.scenario, [row])
