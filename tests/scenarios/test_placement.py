"""A placement is one value: no field of it is forgotten where options are told apart, planned, run or grouped."""

from __future__ import annotations

from typing import Any

import pytest

from hybridsplit.orchestrator.views.tables import plan_table
from hybridsplit.runtime.run.assignments import plan_fingerprint
from hybridsplit.scenarios.contracts.assignment import Assignment, assignments_of, frozen_assignments
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.options import OPTION_COLUMNS, OPTION_KEY
from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS, Placement
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance

FIRST = Placement(cut=2, mode=Mode.FO_RECOMPUTE, recompute="k1 g2 b2 g1 b1", batch_size=8)


def another(value: Any) -> Any:
    """A different value of the same kind."""
    if isinstance(value, Mode):
        return next(mode for mode in Mode if mode is not value)
    return value + 1 if isinstance(value, int) else f"{value} "


@pytest.fixture(scope="module")
def instance() -> Instance:
    return random_instance(5, num_clients=30, num_options=8)


@pytest.fixture(scope="module")
def plan(instance: Instance) -> Plan:
    return make_plan(instance.scenario, instance.table, "splitfed")


def test_its_fields_are_the_key_of_an_option_and_part_of_a_client_plan() -> None:
    assert ("client", *PLACEMENT_COLUMNS) == OPTION_KEY
    assert set(PLACEMENT_COLUMNS) <= set(OPTION_COLUMNS)
    assert set(PLACEMENT_COLUMNS) <= set(ClientPlan.model_fields)
    assert Placement.of_row(FIRST.model_dump() | {"other": 1}) == FIRST


@pytest.mark.parametrize("name", PLACEMENT_COLUMNS)
def test_every_field_tells_options_apart(name: str, instance: Instance, plan: Plan) -> None:
    other = FIRST.model_copy(update={name: another(getattr(FIRST, name))})
    assert other.key != FIRST.key
    prints = {plan_fingerprint(instance.scenario, [Assignment("a", placement, 1.0, 1)]) for placement in (FIRST, other)}
    assert len(prints) == 2
    clients = [c.model_copy(update=dict(FIRST) | {"id": f"a-{i}"}) for i, c in enumerate(plan.clients)]
    same = plan.model_copy(update={"clients": tuple(clients)})
    clients[0] = clients[0].model_copy(update={name: getattr(other, name)})
    changed = plan.model_copy(update={"clients": tuple(clients)})
    assert plan_table(changed).row_count == plan_table(same).row_count + 1


@pytest.mark.parametrize("name", PLACEMENT_COLUMNS)
def test_verification_refuses_a_change_of_any_field(name: str, instance: Instance, plan: Plan) -> None:
    first, *rest = plan.clients
    changed = first.model_copy(update={name: another(getattr(first, name)) if name != "cut" else 99})
    with pytest.raises(SolverFailure, match=first.id):
        verify_plan(plan.model_copy(update={"clients": (changed, *rest)}), instance.scenario, instance.table)


def test_assignments_carry_the_placements_of_the_plan_whole(instance: Instance, plan: Plan) -> None:
    assignments = assignments_of(plan, instance.scenario)
    assert [a.placement for a in assignments] == [client.placement for client in plan.clients]
    assert all(type(a.placement) is Placement for a in assignments)


def test_the_frozen_control_keeps_everything_but_how_the_client_part_is_trained() -> None:
    (control,) = frozen_assignments((Assignment("a", FIRST, 0.5, 7, "board"),))
    assert control == Assignment(
        "a", FIRST.model_copy(update={"mode": Mode.FROZEN, "recompute": "", "staleness": 0}), 0.5, 7
    )
