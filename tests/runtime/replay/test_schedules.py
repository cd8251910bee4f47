"""Plans whose clients take turns, or go one after another, replay to what was planned."""

from __future__ import annotations

import pytest

from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Chain, Turns
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.strategies import STRATEGIES
from tests.solver.instances import random_instance

CASES = [
    (server_model, strategy)
    for server_model in ("per-client", "shared-mean", "shared-sequential")
    for strategy in ("time-shared", "split-sequential", "hsfl", "splitfed", "optimal")
    if server_model != "shared-sequential" or not STRATEGIES[strategy].divides_server
]


@pytest.mark.parametrize(("server_model", "strategy"), CASES)
@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("local_steps", [1, 2, 5])
def test_replay_takes_what_was_planned(local_steps: int, link_model: str, strategy: str, server_model: str) -> None:
    instance = random_instance(
        local_steps,
        num_clients=5,
        num_options=None,
        link_model=link_model,
        local_steps=local_steps,
        server_model=server_model,
    )
    plan = make_plan(instance.scenario, instance.table, strategy)
    replayed = replay(plan, instance.scenario, num_rounds=3)
    for latency_s in replayed.round_latency_s:
        assert latency_s == pytest.approx(plan.round_latency_s, rel=1e-9)
    assert replayed.round_latency_s[0] >= plan.schedule_lower_bound_s * plan.progress
    planned = plan.ledger(3).table.set_index(["client", "round", "phase"]).sort_index()
    played = replayed.ledger.of(Source.REPLAYED).set_index(["client", "round", "phase"]).sort_index()
    for column in ("seconds", "waiting_s", "bytes"):
        assert played[column].to_numpy() == pytest.approx(
            planned.loc[played.index, column].to_numpy(), rel=1e-9, abs=1e-9 * plan.round_latency_s
        )


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
