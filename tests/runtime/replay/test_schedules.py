"""Plans whose clients take turns, or go one after another, replay to what was planned."""

from __future__ import annotations

import pytest

from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Chain, Turns
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.strategies import STRATEGIES
from hybridsplit.testing.instances import random_instance

CASES = [
    (server_model, strategy)
    for server_model in ("per-client", "shared-mean", "shared-sequential")
    for strategy in ("time-shared", "split-sequential", "hsfl", "splitfed", "optimal")
    if server_model != "shared-sequential" or not STRATEGIES[strategy].divides_server
]


@pytest.fixture(scope="module")
def plan() -> Plan:
    instance = random_instance(2, num_clients=4, num_options=None, local_steps=2)
    return make_plan(instance.scenario, instance.table, "time-shared")


def test_the_schedule_survives_json(plan: Plan) -> None:
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert isinstance(again.schedule, Turns)


def test_an_order_that_names_a_stranger_is_refused(plan: Plan) -> None:
    instance = random_instance(2, num_clients=4, num_options=None, local_steps=2)
    for schedule in (Turns(order=("g0-0",)), Chain(order=("g0-0", "g0-0")), Chain(order=("nobody",))):
        with pytest.raises(ContractError, match="does not name its clients once each"):
            replay(plan.model_copy(update={"schedule": schedule}), instance.scenario, num_rounds=1)


def test_a_chain_holds_its_largest_share_once(plan: Plan) -> None:
    instance = random_instance(2, num_clients=4, num_options=None, local_steps=2)
    everybody = tuple(client.id for client in plan.clients)
    replay(plan.model_copy(update={"schedule": Chain(order=everybody)}), instance.scenario, num_rounds=1)
    with pytest.raises(ContractError, match="sums to 2"):
        replay(plan.model_copy(update={"schedule": Chain(order=everybody[1:])}), instance.scenario, num_rounds=1)
