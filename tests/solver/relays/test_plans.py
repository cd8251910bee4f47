"""Plans over relays: bound, placements, replay and verification agree, and small ones equal enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from hybridsplit.runtime.replay_relays import play_relays
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.errors import InfeasibleError, UsageError
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.chain.training_bound import training_bound_s
from hybridsplit.solver.relays.assemble import make_relay_plan
from hybridsplit.solver.relays.columns import Column, alone_bound_s, column_of, in_flight_bound_s, stages_of
from hybridsplit.solver.relays.planner import best_placements
from hybridsplit.solver.relays.routes import routes_of
from hybridsplit.solver.relays.strategies import RELAY_STRATEGIES
from hybridsplit.solver.relays.task import Task, with_deep_depths, with_depths
from hybridsplit.solver.verify.relay_plan import relay_violations
from tests.solver.relays.tasks import random_costs, relay_scenario

OBJECTIVES = ("round-latency", "inference-latency", "inference-period")


def task(
    seed: int, minimise: str, counts: tuple[int, ...] = (1,), **changes: object
) -> tuple[RelayScenario, RelayCosts]:
    numbers = (1, 4)
    scenario = relay_scenario(counts, minimise=minimise, numbers=numbers, **changes)  # type: ignore[arg-type]
    costs = random_costs(np.random.default_rng(seed), 5, numbers, trains=minimise == "round-latency")
    return scenario, costs


def every_column(scenario: RelayScenario, costs: RelayCosts) -> dict[str, list[Column]]:
    """All placements of every group, by enumeration."""
    found: dict[str, list[Column]] = {}
    for route in routes_of(scenario, costs):
        chain = route.chain
        for cuts in itertools.combinations_with_replacement(range(chain.num_blocks + 1), chain.num_nodes - 1):
            column = column_of(route, cuts)
            used = sum(a < c for a, c in column.spans)
            if used <= chain.most_parts and all(
                np.isfinite(chain.node_s[k, a, c]) for k, (a, c) in enumerate(column.spans)
            ):
                found.setdefault(route.group, []).append(column)
    return found


@pytest.mark.parametrize("minimise", OBJECTIVES)
def test_a_client_alone_gets_the_best_of_all_placements(minimise: str) -> None:
    for seed in range(4):
        scenario, costs = task(seed, minimise)
        planned = best_placements(scenario, costs)
        whole = Task(scenario, costs, routes_of(scenario, costs), math.inf)
        columns = every_column(scenario, costs)["g0"]
        bounds = [
            whole.alone_s(c) if minimise == "inference-period" else alone_bound_s(c, trains=whole.trains)
            for c in columns
        ]
        assert math.isclose(planned.lower_bound_s, min(bounds), rel_tol=1e-9)
        best = min(whole.value_s(with_depths(whole, [column])) for column in columns)
        assert planned.lower_bound_s <= best * (1 + 1e-9)
        assert best * (1 - 1e-9) <= planned.value_s <= best * (1 + scenario.search.gap) * (1 + 1e-9)


def test_periods_of_few_clients_are_near_those_of_all_combinations() -> None:
    for seed in range(5):
        scenario, costs = task(seed, "inference-period", (2, 1), shared=True)
        planned = best_placements(scenario, costs)
        whole = Task(scenario, costs, routes_of(scenario, costs), math.inf)
        columns = {group: _lean(found) for group, found in every_column(scenario, costs).items()}
        best = min(
            whole.value_s([(one, ()), (two, ()), (three, ())])
            for one, two in itertools.combinations_with_replacement(columns["g0"], 2)
            for three in columns["g1"]
        )
        assert planned.lower_bound_s <= best * (1 + 1e-9), "no bound is above a plan"
        assert planned.value_s <= best * 1.1


def _lean(columns: list[Column]) -> list[Column]:
    """Placements that no other one of the group is below in every resource."""
    names = sorted({name for column in columns for name in column.busy_s})
    loads = [np.array([column.own_s, *(column.busy_s.get(name, 0.0) for name in names)]) for column in columns]
    kept: list[int] = []
    for i, load in enumerate(loads):
        if not any(
            (other <= load).all() and ((other < load).any() or j < i) for j, other in enumerate(loads) if j != i
        ):
            kept.append(i)
    return [columns[i] for i in kept]


def test_column_generation_reaches_the_programme_over_all_columns() -> None:
    from scipy.optimize import linprog

    for seed in range(6):
        scenario, costs = task(seed, "inference-period", (3, 2), shared=True)
        columns = [column for found in every_column(scenario, costs).values() for column in found]
        names = sorted({name for column in columns for name in column.busy_s})
        loads = np.array([[column.busy_s.get(name, 0.0) for column in columns] for name in names])
        groups = [group.group for group in scenario.clients]
        own = np.array([[c.own_s if c.route.group == group else 0.0 for c in columns] for group in groups])
        at_most = np.vstack(
            [np.hstack([loads, -np.ones((len(names), 1))]), np.hstack([own, -np.array([[3.0], [2.0]])])]
        )
        equal = np.array([[*(1.0 * (c.route.group == group) for c in columns), 0.0] for group in groups])
        cost = np.zeros(len(columns) + 1)
        cost[-1] = 1.0
        whole = linprog(cost, A_ub=at_most, b_ub=np.zeros(len(at_most)), A_eq=equal, b_eq=[3, 2])
        planned = best_placements(scenario, costs)
        assert planned.lower_bound_s >= whole.fun * (1 - 2e-4)
        assert planned.value_s >= whole.fun * (1 - 1e-9)


@pytest.mark.parametrize("minimise", OBJECTIVES)
def test_the_replay_takes_what_the_plan_says_and_is_never_below_the_bound(minimise: str) -> None:
    for seed, counts, shared in ((1, (1,), False), (2, (2, 1), True)):
        scenario, costs = task(seed, minimise, counts, shared=shared, search={"time_limit_s": 0.5})
        for strategy in RELAY_STRATEGIES:
            plan = make_relay_plan(scenario, costs, strategy)
            played = play_relays(plan, 40 if minimise == "inference-period" else 1)
            assert played.value_s >= plan.lower_bound_s * (1 - 1e-9)
            if minimise == "inference-period":
                assert played.value_s <= plan.value_s * 1.5, "filling the machines weighs little"
            else:
                assert played.value_s == pytest.approx(plan.value_s, rel=1e-9)
                for client in plan.clients:
                    assert played.ends_s[client.id] == pytest.approx(client.latency_s, rel=1e-9)


@pytest.mark.parametrize("minimise", ["round-latency", "inference-latency"])
def test_no_placement_of_several_clients_is_below_the_bound(minimise: str) -> None:
    for seed in range(3):
        scenario, costs = task(seed, minimise, (2, 1), shared=True, search={"time_limit_s": 1.0})
        planned = best_placements(scenario, costs)
        whole = Task(scenario, costs, routes_of(scenario, costs), math.inf)
        columns, rng = every_column(scenario, costs), np.random.default_rng(seed)
        near = [column for column, _ in planned.placed]
        for _ in range(60):
            drawn = [
                columns[group][int(rng.integers(len(columns[group])))] if rng.random() < 0.5 else column
                for group, column in zip(whole.groups, near, strict=True)
            ]
            assert whole.value_s(with_depths(whole, drawn)) >= planned.lower_bound_s * (1 - 1e-9)


def test_a_stream_reaches_its_period_with_many_batches() -> None:
    scenario, costs = task(4, "inference-period", (2,), shared=True)
    plan = make_relay_plan(scenario, costs)
    few, many = (play_relays(plan, number).value_s for number in (5, 200))
    assert plan.value_s * (1 - 1e-9) <= many <= few
    assert many <= plan.value_s * 1.03


def test_optimal_is_no_slower_than_the_baselines() -> None:
    for seed in range(2):
        scenario, costs = task(seed, "round-latency", (1, 1), search={"gap": 0.0, "time_limit_s": 2.0})
        values = {name: make_relay_plan(scenario, costs, name).value_s for name in ("optimal", "single-cut")}
        assert values["optimal"] <= values["single-cut"] * (1 + 1e-9)


def test_many_clients_are_near_their_bound() -> None:
    scenario, costs = task(7, "inference-period", (60, 40), shared=False)
    plan = make_relay_plan(scenario, costs)
    assert plan.gap < 0.02
    assert plan.status in {PlanStatus.OPTIMAL, PlanStatus.FEASIBLE}


def test_a_round_of_many_clients_is_walked_in_time() -> None:
    """Its bound counts work alone, not who starts late and ends last: its gap is larger than that of a period."""
    scenario, costs = task(7, "round-latency", (13, 14), search={"time_limit_s": 1.0})
    plan = make_relay_plan(scenario, costs)
    assert plan.value_s == max(client.latency_s for client in plan.clients)
    assert all(client.latency_s >= client.alone_s * (1 - 1e-9) for client in plan.clients)
    assert max(plan.busy_s.values()) <= plan.value_s
    assert plan.gap < 1.0


def test_memory_of_a_node_limits_what_is_placed_there() -> None:
    def at_edge(limit_bytes: int | None) -> int:
        scenario, costs = task(3, "inference-period", (4, 3), memory_bytes=limit_bytes)
        plan = make_relay_plan(scenario, costs)
        return sum(part.peak_bytes for client in plan.clients for part in client.placement if part.node == "edge")

    free = at_edge(None)
    assert free > 0
    assert at_edge(free // 2) <= free // 2
    scenario, costs = task(3, "round-latency", (1,))
    document = scenario.resolved()
    document["clients"][0]["memory_budget_bytes"] = 1000
    with pytest.raises(
        InfeasibleError, match=r"client group g0: min_cut keeps 1 block on the device, .* at least, .* raise it"
    ):
        make_relay_plan(validate_relays(document, "small"), costs)


def test_an_unknown_strategy_is_told_with_the_nearest_one() -> None:
    scenario, costs = task(0, "inference-latency")
    with pytest.raises(UsageError, match="did you mean 'single-cut'"):
        make_relay_plan(scenario, costs, "single-cutt")


def test_the_note_says_why_there_are_so_many_cuts() -> None:
    scenario, costs = task(0, "round-latency", rate_bps=100e9)
    document = scenario.resolved()
    for node in document["network"]["nodes"]:
        node["device"] = "jetson_orin_nano_8gb"
    for link in document["network"]["links"]:
        link["latency_s"] = 0.0
    document["clients"][0]["min_cut"] = 0
    plan = make_relay_plan(validate_relays(document, "equal machines"), costs)
    assert plan.most_cuts > 1
    assert "as fast as the best single cut" in plan.notes[0]
    scenario, costs = task(0, "inference-latency", rate_bps=1e6)
    assert make_relay_plan(scenario, costs).most_cuts <= 1
    assert "a further cut sends what crosses it once more" in make_relay_plan(scenario, costs).notes[0]


TAMPERED = {
    "value_s": lambda d: d.update(value_s=d["value_s"] * 0.9),
    "lower_bound_s": lambda d: d.update(lower_bound_s=d["value_s"] * 1.1),
    "gap": lambda d: d.update(gap=d["gap"] + 0.1),
    "placed nowhere": lambda d: d["clients"][0]["placement"][-1].update(last_block=4),
    "do not follow": lambda d: d["clients"][0]["placement"][0].update(first_block=2),
    "peak_bytes": lambda d: d["clients"][0]["placement"][0].update(peak_bytes=5),
    "forward_s": lambda d: d["clients"][0]["placement"][-1].update(forward_s=1e-6),
    "bytes are not those": lambda d: d["clients"][0]["hops"][0].update(sent_bytes=8),
    "no way to a server": lambda d: d["clients"][0].update(path=["g0-0", "edge", "cloud"]),
    "micro-batches are not": lambda d: d["clients"][0].update(micro_batches=2),
    "alone_s is": lambda d: d["clients"][0].update(alone_s=d["clients"][0]["alone_s"] * 0.99),
    "busy_s": lambda d: d["busy_s"].update(edge=1e-3),
    "not those of the scenario": lambda d: d["clients"][0].update(id="g0-1"),
    "warm-up depths": lambda d: d["clients"][0]["placement"][0].update(warm_up=99),
}


@pytest.mark.parametrize("words", sorted(TAMPERED))
def test_verification_finds_what_was_changed(words: str) -> None:
    scenario, costs = task(2, "round-latency", rate_bps=1e9)
    plan = make_relay_plan(scenario, costs)
    assert not list(relay_violations(plan, scenario, costs))
    assert plan.most_cuts >= 1
    document = plan.model_dump(mode="json")
    TAMPERED[words](document)
    changed = RelayPlan.model_validate(document)
    assert any(words in fault for fault in relay_violations(changed, scenario, costs)), list(
        relay_violations(changed, scenario, costs)
    )


def test_what_memory_holds_in_flight_bounds_a_round() -> None:
    """No order of a client alone is below the bound, which is the sharper the fewer micro-batches memory holds."""
    sharper = 0
    for seed in range(12):
        scenario, costs = task(seed, "round-latency")
        kept = {number: replace(one, kept_bytes=20 * one.kept_bytes) for number, one in costs.by_micro_batches.items()}
        costs = replace(costs, by_micro_batches=kept)
        route = next(one for one in routes_of(scenario, costs) if one.micro_batches > 1)
        further = np.random.default_rng(seed).uniform(0.0, 3.0) * route.held_bytes[0, 0, 2]
        (group,) = scenario.clients
        budget = {"memory_budget_bytes": int(route.memory_bytes[0, 0, 2] + further)}
        scenario = scenario.model_copy(update={"clients": (group.model_copy(update=budget),)})
        whole = Task(scenario, costs, routes_of(scenario, costs), math.inf)
        for column in every_column(scenario, costs)["g0"]:
            number, stages = column.route.micro_batches, stages_of(column)[1]
            value_s = min(whole.value_s(place(whole, [column])) for place in (with_depths, with_deep_depths))
            bound_s = alone_bound_s(column, trains=True)
            assert bound_s <= value_s * (1 + 1e-9)
            any_depth_s = column.route.steps * training_bound_s(column.route.chain, column.cuts, number)
            sharper += bound_s > any_depth_s * (1 + 1e-9)
            takes_s = [one.forward_s + one.backward_s + sum(map(sum, one.links)) for one in stages]
            first = [replace(stages[0], most_warm_up=1), *stages[1:]]
            assert in_flight_bound_s(first, number) == pytest.approx(number * sum(takes_s))
    assert sharper > 20
