"""Plans in which steps overlap: the order in time, bounds that hold, and replays that agree with plans."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.explain.overlap_notes import largest_stable_rate
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.overlap import bounding_work, tightest_weights
from hybridsplit.solver.shares.passes import Passes, with_overlap
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance
from tests.tiers import one_of

SECONDS = st.floats(0.05, 3.0)


def instance_of(
    seed: int, staleness: tuple[int, ...] = (0, 1, 2), *, delay_s: float = 0.02, num_clients: int = 3, steps: int = 5,
    **options: Any,
) -> Instance:  # fmt: skip
    """A random instance that offers every option of fo with a server part at every staleness as well."""
    plain = random_instance(seed, num_clients=num_clients, num_options=4, **options)
    document = plain.scenario.resolved()
    document["training"]["local_steps"] = steps
    document["training"]["overlap"] = {"staleness": list(staleness), "gradient": "stash"}
    for one in document["clients"]:
        one["link"]["latency_s"] = delay_s
    scenario = validate_scenario(json.loads(json.dumps(document)), "test")
    rows = plain.table.table
    able = rows[(rows["mode"] == "fo") & (rows["server_compute_s"] > 0) & (rows["uplink_bytes"] > 0)]
    frames = [rows if 0 in staleness else rows.drop(able.index)]
    frames += [able.assign(staleness=d, progress=able["progress"] / (1 + 0.1 * d)) for d in staleness if d]
    table = pd.concat(frames).sort_values("client", kind="stable", ignore_index=True)
    return Instance(scenario, OptionTable(table))


def far_away() -> Instance:
    """Three clients, each with a server part, on links whose delay is most of a round."""
    instance = instance_of(3, delay_s=2.0, modes=("fo",))
    rows = instance.table.table
    return Instance(instance.scenario, OptionTable(rows[rows["server_compute_s"] > 0].reset_index(drop=True)))


def passes(times: tuple[float, ...], steps: int) -> Passes:
    """One client whose batches are all alike."""
    forward, up, server, down, backward = (np.array([one]) for one in times)
    nothing, each = np.zeros(1), np.full((steps, 1), 1.0 / steps)
    return Passes(
        forward, server, backward, up * steps, down * steps, each, each, nothing, nothing,
        np.zeros((steps, 1)), np.zeros((steps, 1)), np.zeros((2, 1)),
    )  # fmt: skip


@given(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS, SECONDS), st.integers(0, 3))
@settings(max_examples=200)
def test_alternation_attains_its_period(times: tuple[float, ...], staleness: int) -> None:
    """Never less a step than the busiest resource, or whole passes of which D + 1 are under way; and never more but for
    the beginning and the end of the round, however long it is."""
    forward, up, server, down, backward = times
    period_s = max(forward + backward, up, server, down, sum(times) / (staleness + 1))
    for steps in (1, 7, 60, 400):
        end_s = float(passes(times, steps).latency_s(staleness)[0])
        assert steps * period_s * (1 - 1e-9) <= end_s <= (steps * period_s + 2 * sum(times)) * (1 + 1e-9)


@given(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS, SECONDS), st.integers(1, 8))
def test_more_staleness_is_never_slower_and_none_is_the_sum(times: tuple[float, ...], steps: int) -> None:
    ends = [float(passes(times, steps).latency_s(staleness)[0]) for staleness in range(steps)]
    assert ends[0] == pytest.approx(steps * sum(times))
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(ends))


@pytest.mark.parametrize("seed", range(8))
def test_bounding_work_is_below_the_true_latency_at_any_shares(seed: int) -> None:
    instance = instance_of(seed, link_model="shannon" if seed % 2 else "fixed")
    problem = build_problem(instance.table, instance.scenario)
    assert problem.overlap is not None
    assert problem.overlap.staleness.any()
    rng = np.random.default_rng(seed)
    for _ in range(10):
        shares = rng.uniform(0.02, 1.0, (problem.num_rows, 3))
        rows = np.arange(problem.num_rows)
        true_s = with_overlap(problem, rows, shares, problem.done.latency_s(shares))
        weights = tightest_weights(problem.overlap, rng.uniform(0, 1, 3), float(rng.uniform(0.5, 2)) * true_s.mean())
        assert weights.sum(axis=1) == pytest.approx(1.0)
        radio, clients = instance.scenario.radio, problem.clients
        work = bounding_work(problem.overlap, weights, radio, clients, problem.client_index, problem.uplink_bits)
        for bound in (work, problem.work):
            bound_s = bound.latency_s(shares)
            assert (bound_s <= true_s * (1 + 1e-9)).all()
            waits = problem.overlap.staleness == 0
            assert (bound_s[waits] == true_s[waits]).all()


def every_plan_s(instance: Instance) -> float:
    """The least objective with static shares over every choice of options."""
    problem = build_problem(instance.table, instance.scenario)
    ends = np.append(problem.starts[1:], problem.num_rows)
    choices = itertools.product(*(range(a, b) for a, b in zip(problem.starts, ends, strict=True)))
    best = np.inf
    for rows in map(np.array, choices):
        if problem.keeps_limits(rows):
            best = min(best, problem.objective_of(rows, best_shares(problem, rows).round_latency_s))
    return float(best)


def replayed_as_planned(plan: Plan, instance: Instance) -> None:
    verify_plan(plan, instance.scenario, instance.table)
    played = replay(plan, instance.scenario, num_rounds=2)
    assert played.round_latency_s == pytest.approx([plan.round_latency_s] * 2, rel=1e-9)


@pytest.mark.parametrize("seed", one_of(12, range(12)))
@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
def test_plans_are_bounded_verified_and_replayed(seed: int, link_model: str) -> None:
    instance = instance_of(
        seed, link_model=link_model, minimise="round-latency" if seed % 3 == 0 else "time-to-progress"
    )
    waiting = Instance(
        instance.scenario,
        OptionTable(instance.table.table[instance.table.table["staleness"] == 0].reset_index(drop=True)),
    )
    for strategy in ("static", "optimal"):
        plan, without = (make_plan(one.scenario, one.table, strategy) for one in (instance, waiting))
        replayed_as_planned(plan, instance)
        assert plan.objective_s <= without.objective_s * (1 + 1e-6)
        assert plan.schedule_lower_bound_s <= plan.lower_bound_s <= plan.objective_s * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold_against_every_plan(seed: int) -> None:
    instance = instance_of(seed, (0, 1), num_clients=2)
    best_s = every_plan_s(instance)
    plan = make_plan(instance.scenario, instance.table, "static")
    assert plan.lower_bound_s <= best_s * (1 + 1e-7)
    assert plan.objective_s <= best_s * 1.02


def test_with_fixed_options_overlap_never_makes_the_best_round_longer() -> None:
    """Static shares, solved for each staleness: today's constraint with more slack."""
    for seed in range(4):
        instance = instance_of(seed)
        problem = build_problem(instance.table, instance.scenario)
        table = problem.table
        latencies = []
        for value in (0, 1, 2):
            rows = [
                table[(table["client"] == client.id) & (table["mode"] == "fo") & (table["staleness"] == value)].index
                for client in problem.clients
            ]
            if any(len(own) == 0 for own in rows):
                break
            latencies.append(best_shares(problem, np.array([own[0] for own in rows])).round_latency_s)
        assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(latencies))


def test_delay_is_hidden_by_overlap() -> None:
    """Where the delay is most of a round, a step ahead halves it, and the default strategy takes it."""
    instance = far_away()
    plan = make_plan(instance.scenario, instance.table)
    assert max(client.staleness for client in plan.clients) > 0
    without = instance.table.table
    waiting = OptionTable(without[without["staleness"] == 0].reset_index(drop=True))
    assert plan.objective_s < 0.8 * make_plan(instance.scenario, waiting).objective_s
    assert any("assumed, not measured" in note for note in plan.notes)
    assert any("learning rate" in note for note in plan.notes)


def test_other_strategies_wait_for_every_gradient() -> None:
    instance = instance_of(1, delay_s=1.0)
    for strategy in ("splitfed", "greedy", "time-shared", "edgesplit"):
        plan = make_plan(instance.scenario, instance.table, strategy)
        assert {client.staleness for client in plan.clients} == {0}
    rows = instance.table.table
    first = rows["client"].iloc[0]
    lacking = OptionTable(rows[(rows["client"] != first) | (rows["staleness"] > 0)].reset_index(drop=True))
    with pytest.raises(InfeasibleError, match=f"waits for every gradient.*{first}"):
        make_plan(instance.scenario, lacking, "splitfed")
    plan = make_plan(instance.scenario, lacking)
    assert plan.client(first).staleness > 0


def test_an_altered_staleness_or_latency_is_refused() -> None:
    instance = far_away()
    plan = make_plan(instance.scenario, instance.table)
    ahead = next(client for client in plan.clients if client.staleness)
    for change in ({"staleness": 3 - ahead.staleness}, {"latency_s": ahead.latency_s * 0.99}):
        clients = tuple(c.model_copy(update=change) if c.id == ahead.id else c for c in plan.clients)
        with pytest.raises(SolverFailure, match=ahead.id):
            verify_plan(plan.model_copy(update={"clients": clients}), instance.scenario, instance.table)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    instance = far_away()
    plan = make_plan(instance.scenario, instance.table)
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan


def test_stability_limit_is_that_of_a_late_gradient_on_a_quadratic() -> None:
    """The largest root of ``z^{D+1} - z^D + s`` leaves the unit circle at the stated rate."""
    assert [largest_stable_rate(d) for d in (0, 1)] == pytest.approx([2.0, 1.0])
    for staleness in range(5):
        limit = largest_stable_rate(staleness)
        for rate, is_stable in ((0.999 * limit, True), (1.001 * limit, False)):
            polynomial = np.zeros(staleness + 2)
            polynomial[0], polynomial[1] = 1.0, -1.0
            polynomial[-1] += rate
            assert (np.abs(np.roots(polynomial)).max() < 1) is np.True_ or not is_stable
            assert bool(np.abs(np.roots(polynomial)).max() < 1) is is_stable


def test_a_restricted_problem_keeps_what_it_knows_of_overlap() -> None:
    instance = instance_of(2)
    problem = build_problem(instance.table, instance.scenario)
    assert problem.overlap is not None
    mask = problem.overlap.staleness != 1
    small = problem.restricted(mask)
    assert small.overlap is not None
    assert (small.overlap.staleness == problem.overlap.staleness[mask]).all()
    again = replace(small, limits=())
    assert again.overlap is small.overlap
