"""Plans with nodes that are several machines: four clocks agree, bounds hold, and replicas shorten rounds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from hybridsplit.runtime.replay_relays import play_relays
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.chain.order import best_warm_ups, step_seconds
from hybridsplit.solver.relays.assemble import make_relay_plan
from hybridsplit.solver.relays.columns import alone_bound_s, round_seconds, stages_of
from hybridsplit.solver.relays.pipelines import period_s, pipeline_orders
from hybridsplit.solver.relays.planner import best_placements
from hybridsplit.solver.relays.routes import routes_of
from hybridsplit.solver.relays.task import Task, with_depths
from hybridsplit.solver.relays.walk import walk
from hybridsplit.solver.verify.relay_plan import links_of_path, relay_violations
from tests.solver.relays.tasks import random_costs, relay_scenario
from tests.solver.relays.test_plans import every_column

NUMBERS = (1, 4, 6)


def replicated(
    counts: tuple[int, ...] = (1,), replicas: tuple[int, int] = (2, 4), pipeline: str = "best", **changes: Any
) -> RelayScenario:
    """The edge server and the cloud are so many machines."""
    numbers = changes.pop("numbers", NUMBERS)
    training: dict[str, Any] = changes.pop("training", {})
    scenario = relay_scenario(counts, numbers=(1,), **changes)
    document = scenario.resolved()
    document["training"] |= {
        "micro_batches": list(numbers), "batch_size": 24, "partial_sums": 4, "pipeline": pipeline,
    } | training  # fmt: skip
    for node, count in zip(document["network"]["nodes"][-2:], replicas, strict=True):
        node |= {"replicas": count, "replica_bps": 1e9 if count > 1 else None}
    return validate_relays(document, "replicated")


def made(seed: int, strategy: str = "optimal", **how: Any) -> tuple[RelayPlan, RelayScenario, Any]:
    scenario = replicated(**how)
    costs = random_costs(np.random.default_rng(seed), 5, how.get("numbers", NUMBERS), trains=True)
    return make_relay_plan(scenario, costs, strategy), scenario, costs


@pytest.mark.parametrize("pipeline", ["best", "1f1b", "gpipe"])
@pytest.mark.parametrize(("counts", "shared"), [((1,), False), ((2, 1), True)])
def test_four_clocks_agree(counts: tuple[int, ...], shared: bool, pipeline: str) -> None:
    """The walk of all clients, the longest path of the verifier, the replay, and for a client alone the recursion."""
    seen: set[int] = set()
    for seed, strategy in itertools.product(range(2), ("optimal", "even-split")):
        search = {"time_limit_s": 0.4}
        plan, _, _ = made(seed, strategy, counts=counts, shared=shared, pipeline=pipeline, search=search, numbers=(6,))
        played = play_relays(plan)
        assert played.value_s == pytest.approx(plan.value_s, rel=1e-9)
        assert plan.lower_bound_s <= plan.value_s * (1 + 1e-9)
        for client in plan.clients:
            assert played.ends_s[client.id] == pytest.approx(client.latency_s, rel=1e-9)
            seen |= {part.replicas for part in client.placement}
    assert max(seen) > 1


def test_the_recursion_is_the_walk_of_a_client_alone() -> None:
    for seed in range(3):
        scenario = replicated()
        costs = random_costs(np.random.default_rng(seed), 5, NUMBERS, trains=True)
        rng = np.random.default_rng(seed)
        columns = every_column(scenario, costs)["g0"]
        for column in (columns[int(n)] for n in rng.integers(0, len(columns), 60)):
            _, stages = stages_of(column)
            number = column.route.micro_batches
            depths, step_s = best_warm_ups(stages, number)
            assert step_s == step_seconds(stages, depths, number)
            (walked,) = walk([(column, depths)], trains=True)
            assert walked == pytest.approx(round_seconds(column, step_s), rel=1e-9)
            assert walked >= alone_bound_s(column, trains=True) * (1 - 1e-9)


def test_a_client_alone_gets_the_best_of_all_placements() -> None:
    for seed in range(2):
        scenario = replicated(numbers=(1, 4))
        costs = random_costs(np.random.default_rng(seed), 5, (1, 4), trains=True)
        planned = best_placements(scenario, costs)
        whole = Task(scenario, costs, routes_of(scenario, costs), math.inf)
        columns = every_column(scenario, costs)["g0"]
        bounds = [alone_bound_s(column, trains=True) for column in columns]
        assert planned.lower_bound_s == pytest.approx(min(bounds), rel=1e-9)
        best = min(whole.value_s(with_depths(whole, [column])) for column in columns)
        assert best * (1 - 1e-9) <= planned.value_s <= best * (1 + scenario.search.gap) * (1 + 1e-9)


def test_no_placement_of_several_clients_is_below_the_bound() -> None:
    for seed in range(2):
        scenario = replicated((2, 1), shared=True, numbers=(1, 4), search={"time_limit_s": 1.0})
        costs = random_costs(np.random.default_rng(seed), 5, (1, 4), trains=True)
        planned = best_placements(scenario, costs)
        whole = Task(scenario, costs, routes_of(scenario, costs), math.inf)
        columns, rng = every_column(scenario, costs), np.random.default_rng(seed)
        for _ in range(40):
            drawn = [columns[group][int(rng.integers(len(columns[group])))] for group in whole.groups]
            assert whole.value_s(with_depths(whole, drawn)) >= planned.lower_bound_s * (1 - 1e-9)


def test_replicas_and_rates_between_them_shorten_a_round() -> None:
    """Four machines a node against one: never slower but for adding up; a slow rate costs what it says."""
    values = {}
    costs = random_costs(np.random.default_rng(1), 5, (24,), trains=True)
    document: dict[str, Any] = {}
    for count in (1, 2, 4):
        document = replicated(replicas=(count, count), numbers=(24,), rate_bps=100e9).resolved()
        document["clients"][0]["device"] = document["network"]["nodes"][0]["device"] = "edge_tesla_t4"
        for node in document["network"]["nodes"][-2:]:
            node["device"] = "rpi4b_8gb"
        values[count] = make_relay_plan(validate_relays(document, "fast"), costs, "even-split").value_s
    assert values[4] < 0.7 * values[2] < 0.5 * values[1]
    scenario = validate_relays(document, "fast")
    plan = make_relay_plan(scenario, costs, "even-split")
    for node in document["network"]["nodes"][-2:]:
        node["replica_bps"] = 1e6
    slow = make_relay_plan(validate_relays(document, "slow"), costs, "even-split")
    reduces = max(part.reduce_s for part in slow.clients[0].placement)
    assert slow.value_s > plan.value_s
    assert slow.value_s <= plan.value_s + scenario.training.local_steps * reduces * (1 + 1e-9)


def test_gpipe_needs_the_memory_of_all_micro_batches_and_1f1b_does_not() -> None:
    plan, scenario, costs = made(2, "even-split", pipeline="gpipe", numbers=(24,))
    part = plan.clients[0].placement[-2]
    assert part.warm_up == plan.clients[0].runs(part, 0)
    one, _, _ = made(2, "even-split", pipeline="1f1b", numbers=(24,))
    fewer = one.clients[0].placement[-2]
    assert fewer.peak_bytes == part.peak_bytes - (part.warm_up - fewer.warm_up) * part.held_bytes
    document = scenario.resolved()
    document["network"]["nodes"][-2]["memory_bytes"] = fewer.peak_bytes
    elsewhere = make_relay_plan(validate_relays(document, "tight"), costs, "even-split")
    assert [p.node for p in elsewhere.clients[0].placement] != [p.node for p in plan.clients[0].placement]
    document["training"]["pipeline"] = "1f1b"
    again = make_relay_plan(validate_relays(document, "tight"), costs, "even-split")
    assert again.clients == one.clients
    document["training"]["pipeline"] = "gpipe"
    for node in document["network"]["nodes"]:
        node["memory_bytes"] = fewer.peak_bytes
    with pytest.raises(InfeasibleError, match="even split"):
        make_relay_plan(validate_relays(document, "tight"), costs, "even-split")


@pytest.mark.parametrize("pipeline", ["best", "1f1b", "gpipe"])
def test_the_stages_that_are_shown_are_those_of_the_plan(pipeline: str) -> None:
    for seed in range(3):
        plan, scenario, _ = made(seed, "even-split", pipeline=pipeline, numbers=(6,))
        client = plan.clients[0]
        planned, one, all_first = pipeline_orders(client, scenario)
        assert planned.warm_ups == tuple(part.warm_up for part in client.placement)
        assert planned.peak_bytes == tuple(part.peak_bytes for part in client.placement)
        crossed = zip(client.hops, links_of_path(client, scenario) or [], strict=True)
        exchange_s = sum(
            bits(hop.exchanged_bytes) * (1 / link.uplink_bps + 1 / link.downlink_bps) + 2 * link.latency_s
            for hop, link in crossed
        )
        assert scenario.training.local_steps * planned.step_s + exchange_s == pytest.approx(client.alone_s, rel=1e-9)
        for order in (planned, one, all_first):
            assert all(0 <= idle < 1 for idle in (*order.idle_shares, order.idle_share))
            assert order.step_s >= client.micro_batches * period_s(client, scenario) * (1 - 1e-9)
        assert {"best": planned, "1f1b": one, "gpipe": all_first}[pipeline].step_s == planned.step_s
        assert all_first.warm_ups == tuple(client.runs(part, 0) for part in client.placement)
        assert all(few <= many for few, many in zip(one.peak_bytes, all_first.peak_bytes, strict=True))


TAMPERED = {
    "replicas work": lambda part: part.update(replicas=1),
    "reduce_s": lambda part: part.update(reduce_s=part["reduce_s"] / 2),
    "reduced_bytes": lambda part: part.update(reduced_bytes=1),
    "held_bytes": lambda part: part.update(held_bytes=1),
    "peak_bytes": lambda part: part.update(peak_bytes=part["peak_bytes"] - 1),
    "warm-up depths": lambda part: part.update(warm_up=5),
}


@pytest.mark.parametrize("words", sorted(TAMPERED))
def test_verification_finds_what_was_changed(words: str) -> None:
    plan, scenario, costs = made(2, "even-split", numbers=(6,))
    document = plan.model_dump(mode="json")
    part = next(part for part in document["clients"][0]["placement"] if part["replicas"] > 1)
    TAMPERED[words](part)
    found = list(relay_violations(RelayPlan.model_validate(document), scenario, costs))
    assert any(words in fault for fault in found), found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicas": (3, 1)}, "network.nodes.1.*power of two"),
        ({"replicas": (8, 1)}, "training.partial_sums: found 4, and node edge has 8 replicas"),
        ({"training": {"partial_sums": 3}}, "partial_sums: found 3; needs a power of two"),
    ],
)
def test_what_cannot_be_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        replicated(**change)


def test_rates_belong_to_replicas_and_replicas_to_training() -> None:
    document = replicated().resolved()
    document["network"]["nodes"][-1]["replica_bps"] = None
    with pytest.raises(ScenarioError, match="rate between replicas"):
        validate_relays(document, "no rate")
    document = relay_scenario(minimise="inference-latency").resolved()
    document["network"]["nodes"][-1] |= {"replicas": 2, "replica_bps": 1e9}
    with pytest.raises(ScenarioError, match="share the steps of training"):
        validate_relays(document, "inference")
    document = relay_scenario(minimise="inference-latency").resolved()
    document["training"]["pipeline"] = "gpipe"
    with pytest.raises(ScenarioError, match="about training"):
        validate_relays(document, "inference")
