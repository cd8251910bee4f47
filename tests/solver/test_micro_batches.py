"""Plans with batches in parts: the closed form of a step, shares and bounds, and replays that agree with plans."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay.checks import check_plan
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import described
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Turns
from hybridsplit.scenarios.errors import ContractError, InfeasibleError, SolverFailure
from hybridsplit.scenarios.loader import load_scenario, validate_scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.overlap import bounding_work, tightest_weights
from hybridsplit.solver.shares.passes import Passes, with_overlap
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance
from tests.solver.test_overlap import every_plan_s, replayed_as_planned
from tests.tiers import one_of

SECONDS = st.floats(0.05, 3.0)
LITTLE = st.floats(0.0, 0.5)


def instance_of(
    seed: int, numbers: tuple[int, ...] = (1, 2, 4), *, delay_s: float = 0.002, num_clients: int = 3, steps: int = 3,
    overhead: float = 0.02, is_wired: bool = False, **options: Any,
) -> Instance:  # fmt: skip
    """A random instance that offers every option of fo with a server part in micro-batches as well.

    A micro-batch costs a little more than its part of the whole, so that more of them are not always better.
    """
    plain = random_instance(seed, num_clients=num_clients, num_options=4, **options)
    document = plain.scenario.resolved()
    document["training"]["local_steps"] = steps
    document["training"]["overlap"] = {"micro_batches": list(numbers)}
    for one in document["clients"]:
        one["link"]["latency_s"] = delay_s
    if is_wired:
        document["clients"][0]["link"] = {"uplink_bps": 8e6, "downlink_bps": 2e7, "uplink_latency_s": delay_s}
    scenario = validate_scenario(json.loads(json.dumps(document)), "test")
    rows = plain.table.table.assign(client_update_s=0.0, server_update_s=0.0)
    able = rows[(rows["mode"] == "fo") & (rows["server_compute_s"] > 0) & (rows["uplink_bytes"] > 0)]
    frames = [rows if 1 in numbers else rows.drop(able.index)]
    for number in (n for n in numbers if n > 1):
        more = 1 + overhead * (number - 1)
        frames.append(
            able.assign(
                micro_batches=number, client_compute_s=able["client_compute_s"] * more,
                server_compute_s=able["server_compute_s"] * more, client_update_s=able["client_compute_s"] * 0.1,
                server_update_s=able["server_compute_s"] * 0.2,
            )
        )  # fmt: skip
    table = pd.concat(frames).sort_values("client", kind="stable", ignore_index=True)
    return Instance(scenario, OptionTable(table))


def few_clients() -> Instance:
    """Two clients, each with a server part, which have much to send: the others' resources idle meanwhile."""
    instance = instance_of(3, num_clients=2, modes=("fo",))
    rows = instance.table.table
    return Instance(instance.scenario, OptionTable(rows[rows["server_compute_s"] > 0].reset_index(drop=True)))


def passes(times: tuple[float, ...], delays: tuple[float, float], updates: tuple[float, float], parts: int,
           steps: int) -> Passes:  # fmt: skip
    """One client all of whose micro-batches are alike."""
    forward, up, server, down, backward = (np.array([one]) for one in times)
    pieces = steps * parts
    nothing, each = np.zeros(1), np.full((pieces, 1), 1.0 / pieces)
    up_delay, down_delay = (np.full((pieces, 1), delay) for delay in delays)
    return Passes(
        forward / parts, server / parts, backward / parts, up * steps, down * steps, each, each, nothing, nothing,
        up_delay, down_delay, np.zeros((2, 1)), parts, np.array(updates)[:, None],
    )  # fmt: skip


def step_s(times: tuple[float, ...], delays: tuple[float, float], updates: tuple[float, float], parts: int) -> float:
    """The longest path: the device's own jobs, or those of one micro-batch and all of a bottleneck.

    A path that leaves the server with its last micro-batch, which has the server's update, has no bottleneck after it.
    """
    forward, up, server, down, backward = times
    of_one = sum(times) / parts + sum(delays)
    rest = (parts - 1) / parts
    to_the_last = of_one + rest * max(forward, up, server) + updates[1]
    before_the_last = of_one + rest * max(down, backward) if parts > 1 else 0.0
    return max(forward + backward, to_the_last, before_the_last) + updates[0]


@given(
    st.tuples(SECONDS, SECONDS, SECONDS, SECONDS, SECONDS), st.tuples(LITTLE, LITTLE), st.tuples(LITTLE, LITTLE),
    st.integers(2, 9), st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=400)
def test_a_step_takes_its_longest_path(
    times: tuple[float, ...], delays: tuple[float, float], updates: tuple[float, float], parts: int, steps: int
) -> None:
    end_s = float(passes(times, delays, updates, parts, steps).latency_s(0)[0])
    assert end_s == pytest.approx(steps * step_s(times, delays, updates, parts), rel=1e-12)


@given(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS, SECONDS), st.tuples(LITTLE, LITTLE))
def test_more_parts_are_never_slower_where_they_cost_nothing(
    times: tuple[float, ...], delays: tuple[float, float]
) -> None:
    ends = [float(passes(times, delays, (0.0, 0.0), parts, 2).latency_s(0)[0]) for parts in (1, 2, 4, 8, 64)]
    assert ends[0] == pytest.approx(2 * (sum(times) + sum(delays)))
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(ends))


@pytest.mark.parametrize("seed", range(8))
def test_bounding_work_is_below_the_true_latency_at_any_shares(seed: int) -> None:
    instance = instance_of(seed, link_model="shannon" if seed % 2 else "fixed", is_wired=seed in (2, 6))
    problem = build_problem(instance.table, instance.scenario)
    assert problem.overlap is not None
    assert problem.overlaps.any()
    rng = np.random.default_rng(seed)
    for _ in range(10):
        shares = rng.uniform(0.02, 1.0, (problem.num_rows, 3))
        rows = np.arange(problem.num_rows)
        true_s = with_overlap(problem, rows, shares, problem.done.latency_s(shares))
        weights = tightest_weights(problem.overlap, rng.uniform(0, 1, 3), float(rng.uniform(0.5, 2)) * true_s.mean())
        radio, clients = instance.scenario.radio, problem.clients
        work = bounding_work(problem.overlap, weights, radio, clients, problem.client_index, problem.uplink_bits)
        for bound in (work, problem.work):
            assert (bound.latency_s(shares) <= true_s * (1 + 1e-9)).all()
            assert (bound.latency_s(shares)[~problem.overlaps] == true_s[~problem.overlaps]).all()


def test_one_of_the_chains_is_the_true_latency() -> None:
    """Bytes divide by the parts, and nothing is updated: then the closed form has no other path than the chains."""
    instance = instance_of(1, overhead=0.0)
    rows = instance.table.table.assign(client_update_s=0.0, server_update_s=0.0)
    pieces = 3 * 4
    for name, model in (("uplink_bytes", "model_upload_bytes"), ("downlink_bytes", "model_download_bytes")):
        rows[name] = rows[model] + (rows[name] - rows[model]) // pieces * pieces
    problem = build_problem(OptionTable(rows), instance.scenario)
    overlap = problem.overlap
    assert overlap is not None
    divided = np.flatnonzero(overlap.micro_batches > 1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        shares = rng.uniform(0.02, 1.0, (problem.num_rows, 3))
        true_s = with_overlap(problem, np.arange(problem.num_rows), shares, problem.done.latency_s(shares))
        ends = []
        for chain in range(5):
            weights = np.zeros((problem.num_rows, 5))
            weights[:, chain] = 1.0
            of_chain = bounding_work(
                overlap, weights, instance.scenario.radio, problem.clients, problem.client_index, problem.uplink_bits
            )
            ends.append(of_chain.latency_s(shares)[divided])
        assert np.max(ends, axis=0) == pytest.approx(true_s[divided], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_a_fine_grid(seed: int) -> None:
    """Two clients with micro-batches: every split of each resource, step by step finer around the best so far."""
    instance = instance_of(seed, (4,), num_clients=2, modes=("fo",))
    problem = build_problem(instance.table, instance.scenario)
    assert problem.overlap is not None
    rows = np.array([np.flatnonzero((problem.client_index == i) & problem.overlaps)[0] for i in range(2)])
    solution = best_shares(problem, rows)
    low, high = np.full(3, 1e-3), np.full(3, 1 - 1e-3)
    best_s = np.inf
    for _ in range(8):
        grid = np.stack(np.meshgrid(*np.linspace(low, high, 15).T, indexing="ij"), axis=-1).reshape(-1, 3)
        ends = []
        for row, given_shares in zip(rows, (grid, 1 - grid), strict=True):
            many = np.full(len(grid), row)
            ends.append(with_overlap(problem, many, given_shares, np.zeros(len(grid))))
        latency_s = np.max(ends, axis=0)
        at = grid[np.argmin(latency_s)]
        best_s = min(best_s, float(latency_s.min()))
        width = (high - low) / 4
        low, high = np.maximum(at - width, 1e-3), np.minimum(at + width, 1 - 1e-3)
    assert solution.round_latency_s <= best_s * (1 + 1e-6)
    assert solution.lower_s <= best_s * (1 + 1e-9)
    assert solution.round_latency_s >= best_s * (1 - 5e-3)


@pytest.mark.parametrize("seed", one_of(12, range(12)))
@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("delay_s", [0.0, 0.02])
def test_plans_are_bounded_verified_and_replayed(seed: int, link_model: str, delay_s: float) -> None:
    instance = instance_of(
        seed, link_model=link_model, delay_s=delay_s, minimise="round-latency" if seed % 3 == 0 else "time-to-progress"
    )
    whole = instance.table.table
    whole = whole[whole["micro_batches"] == 1].reset_index(drop=True)
    for strategy in ("static", "optimal"):
        plan = make_plan(instance.scenario, instance.table, strategy)
        without = make_plan(instance.scenario, OptionTable(whole), strategy)
        replayed_as_planned(plan, instance)
        assert plan.objective_s <= without.objective_s * (1 + 1e-6)
        assert plan.schedule_lower_bound_s <= plan.lower_bound_s <= plan.objective_s * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_links_of_the_clients_own_carry_parts_too(seed: int) -> None:
    """One client waits for nobody on its wire; its options in parts alone are left, beside those of the others."""
    instance = instance_of(seed, is_wired=True, modes=("fo",))
    rows = instance.table.table
    first = rows["client"].iloc[0]
    parts = rows[(rows["client"] != first) | (rows["micro_batches"] > 1)]
    instance = Instance(instance.scenario, OptionTable(parts.reset_index(drop=True)))
    for strategy in ("static", "optimal"):
        plan = make_plan(instance.scenario, instance.table, strategy)
        replayed_as_planned(plan, instance)
        assert plan.client(first).micro_batches > 1
        assert plan.client(first).has_dedicated_link


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold_against_every_plan(seed: int) -> None:
    instance = instance_of(seed, (1, 4), num_clients=2)
    best_s = every_plan_s(instance)
    plan = make_plan(instance.scenario, instance.table, "static")
    assert plan.lower_bound_s <= best_s * (1 + 1e-7)
    assert plan.objective_s <= best_s * 1.02


def test_staleness_and_micro_batches_are_options_beside_each_other() -> None:
    """Clients of one plan each in an order of their own, verified and replayed."""
    instance = instance_of(5, num_clients=4)
    document = instance.scenario.resolved()
    document["training"]["overlap"] = {"micro_batches": [1, 2, 4], "staleness": [0, 1]}
    scenario = validate_scenario(json.loads(json.dumps(document)), "test")
    rows = instance.table.table
    able = rows[(rows["mode"] == "fo") & (rows["server_compute_s"] > 0) & (rows["micro_batches"] == 1)]
    table = pd.concat([rows, able.assign(staleness=1, progress=able["progress"] / 1.1)])
    both = Instance(scenario, OptionTable(table.sort_values("client", kind="stable", ignore_index=True)))
    problem = build_problem(both.table, both.scenario)
    assert problem.overlap is not None
    wanted = [(0, 1), (0, 2), (0, 4), (1, 1)]
    rows_of = []
    for client, kind in enumerate(wanted):
        own = (problem.client_index == client) & (problem.overlap.kinds == kind).all(axis=1)
        rows_of.append(np.flatnonzero(own)[-1] if own.any() else np.flatnonzero(problem.client_index == client)[0])
    solution = best_shares(problem, np.array(rows_of))
    assert solution.lower_s <= solution.round_latency_s
    plan = make_plan(both.scenario, both.table, "static")
    replayed_as_planned(plan, both)
    rows = both.table.table
    for kept in (rows["staleness"] == 0, rows["micro_batches"] == 1):
        alone = make_plan(both.scenario, OptionTable(rows[kept].reset_index(drop=True)), "static")
        assert plan.objective_s <= alone.objective_s * (1 + 1e-6)


def test_few_clients_are_planned_with_micro_batches() -> None:
    """With little else to fill them with, resources idle less, and the default strategy says so."""
    instance = few_clients()
    plan = make_plan(instance.scenario, instance.table, "static")
    rows = instance.table.table
    whole = OptionTable(rows[rows["micro_batches"] == 1].reset_index(drop=True))
    assert max(client.micro_batches for client in plan.clients) > 1
    assert plan.objective_s < 0.95 * make_plan(instance.scenario, whole, "static").objective_s
    for client in plan.clients:
        assert (Phase.OVERLAPPED in client.phases_s) == (client.micro_batches > 1)


def test_other_strategies_take_whole_batches() -> None:
    instance = few_clients()
    for strategy in ("splitfed", "greedy", "time-shared"):
        plan = make_plan(instance.scenario, instance.table, strategy)
        assert {client.micro_batches for client in plan.clients} == {1}
    rows = instance.table.table
    first = rows["client"].iloc[0]
    lacking = OptionTable(rows[(rows["client"] != first) | (rows["micro_batches"] > 1)].reset_index(drop=True))
    with pytest.raises(InfeasibleError, match=f"whole batches: add 0 to .*{first}"):
        make_plan(instance.scenario, lacking, "splitfed")
    assert make_plan(instance.scenario, lacking).client(first).micro_batches > 1


def with_client(plan: Plan, client_id: str, change: dict[str, Any]) -> Plan:
    """The plan with some values of a client changed."""
    clients = tuple(c.model_copy(update=change) if c.id == client_id else c for c in plan.clients)
    return plan.model_copy(update={"clients": clients})


@pytest.mark.parametrize(
    "change",
    [
        {"micro_batches": 3}, {"micro_batches": 1}, {"client_update_s": 0.0}, {"server_update_s": 1e6},
        {"staleness": 1}, {"batch_size": 9}, {"latency_s": 0.99},
    ],
    ids=str,
)  # fmt: skip
def test_an_altered_plan_is_refused(change: dict[str, Any]) -> None:
    instance = few_clients()
    plan = make_plan(instance.scenario, instance.table, "static")
    divided = next(client for client in plan.clients if client.micro_batches > 1)
    if "latency_s" in change:
        change = {"latency_s": divided.latency_s * change["latency_s"]}
    for table in (instance.table, None):
        if table is None and change in ({"micro_batches": 1}, {"client_update_s": 0.0}):
            continue
        with pytest.raises(SolverFailure, match=divided.id):
            verify_plan(with_client(plan, divided.id, change), instance.scenario, table)
    in_turns = plan.model_copy(update={"schedule": Turns(order=tuple(client.id for client in plan.clients))})
    with pytest.raises(ContractError, match="overlaps and a schedule without shares"):
        check_plan(in_turns)


def test_the_plans_ledger_has_the_bytes_of_whole_batches() -> None:
    instance = few_clients()
    plan = make_plan(instance.scenario, instance.table, "static")
    table = plan.ledger(1).of(Source.PLANNED)
    for client in plan.clients:
        own = table[table["client"] == client.id].set_index("phase")["bytes"]
        assert own[Phase.UPLINK] + own[Phase.MODEL_UPLOAD] == client.uplink_bytes
        assert own[Phase.DOWNLINK] + own[Phase.MODEL_DOWNLOAD] == client.downlink_bytes


def test_words_name_the_parts() -> None:
    rows = few_clients().table.table
    row = rows[rows["micro_batches"] == 4].iloc[0]
    assert described(row, names_batch=False).endswith(", 4 micro-batches")
    whole = rows[rows["micro_batches"] == 1].iloc[0]
    assert "micro-batches" not in described(whole, names_batch=True)


@pytest.mark.slow
def test_a_profiled_scenario_is_planned_with_micro_batches() -> None:
    """A small ViT over quickstart's devices, with memory for all cuts: shorter with parts than without."""
    config = (
        "model.config={model_type: vit, image_size: 16, patch_size: 4, num_channels: 1, hidden_size: 32, "
        "num_hidden_layers: 4, num_attention_heads: 2, intermediate_size: 64, num_labels: 10}"
    )
    roomy = [f"clients.{index}.memory_budget_bytes=64 MiB" for index in range(5)]
    planned = []
    for listed in ("[1]", "[1,2,4]"):
        scenario = load_scenario("quickstart", [config, *roomy, f"training.overlap.micro_batches={listed}"])
        table = profile_scenario(scenario)
        plan = make_plan(scenario, table)
        replayed_as_planned(plan, Instance(scenario, table))
        planned.append(plan)
    whole, parts = planned
    assert parts.objective_s < 0.95 * whole.objective_s
    assert {client.micro_batches for client in parts.clients} > {1}
