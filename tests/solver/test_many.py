"""The search for many different clients: bounds that hold, plans close to them, answers of the exact search."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hybridsplit.solver.search.joint
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.bound.all_rows import Scanner
from hybridsplit.solver.bound.deadline import StopRule, best_ratio
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.costs import AnySchedule, SharingRule, StaticShares
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort, search
from hybridsplit.testing.instances import random_instance
from tests.solver.test_bounds import random_plans, random_point
from tests.tiers import one_of


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize(
    "limits", [{}, {"server_memory": True}, {"coverage": True, "energy_cap": True}, {"drop": True}]
)
@pytest.mark.parametrize("seed", one_of(2, range(2)))
def test_agrees_with_the_exact_search(
    seed: int, limits: dict[str, bool], link_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = random_instance(seed, num_clients=24, num_options=8, link_model=link_model, **limits)
    problem = build_problem(instance.table, instance.scenario)
    exact = search(problem)
    monkeypatch.setattr(hybridsplit.solver.search.joint, "MANY_KINDS", 1)
    fast = search(problem)
    assert problem.keeps_limits(fast.rows)
    assert fast.lower_bound_s <= exact.objective_s
    assert exact.lower_bound_s <= fast.objective_s
    assert fast.schedule_lower_bound_s <= fast.lower_bound_s
    # One client in 24 weighs four per cent; the fast search is meant for more, where rounding costs less.
    assert fast.objective_s <= exact.objective_s * 1.04
    assert fast.lower_bound_s >= exact.objective_s * 0.94


@pytest.mark.parametrize("modes", [("fo",), ("fo", "fo-recompute"), ("fo", "zo-projection")])
@pytest.mark.parametrize("num_clients", one_of(2, [60, 300]))
@pytest.mark.parametrize("seed", one_of(2, range(6)))
def test_the_bound_for_any_schedule_is_near_the_exact_one(seed: int, num_clients: int, modes: tuple[str, ...]) -> None:
    # Where every option is worth the same, the dual falls off where the resources are full, and multipliers jump.
    instance = random_instance(seed, num_clients=num_clients, num_options=None, num_cuts=6, modes=modes)
    problem = build_problem(instance.table, instance.scenario)
    found = search(problem)
    stop = StopRule(max_intervals=60, dual_gap=1e-3, smoothing=1e-5)
    exact = best_ratio(group_alike(problem), AnySchedule(), found.objective_s, stop=stop)
    assert not found.stopped
    assert 0.985 * exact.lower_s <= found.schedule_lower_bound_s <= exact.lower_s * (1 + 3e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), link_model=st.sampled_from(["fixed", "shannon"]), any_schedule=st.booleans())
def test_chords_bound_every_plan_inside(seed: int, link_model: str, any_schedule: bool) -> None:
    instance = random_instance(seed, num_clients=4, num_options=None, num_cuts=3, link_model=link_model)
    problem = build_problem(instance.table, instance.scenario)
    rule: SharingRule = AnySchedule() if any_schedule else StaticShares()
    scanner, rng = Scanner(group_alike(problem), rule), np.random.default_rng(seed)
    _, latency_s, progress = random_plans(problem, seed)
    for _ in range(5):
        low_s, high_s = np.sort(rng.uniform(latency_s.min(), latency_s.max(), 2))
        at_low, at_high = scanner.chord(random_point(rng), low_s, high_s)
        inside = (latency_s >= low_s) & (latency_s <= high_s)
        line = at_low + (at_high - at_low) * (latency_s[inside] - low_s) / max(high_s - low_s, 1e-300)
        assert np.all(progress[inside] <= line * (1 + 1e-9) + 1e-12)


@pytest.fixture(scope="module")
def large() -> PlanningProblem:
    instance = random_instance(3, num_clients=300, num_options=12, num_cuts=6)
    return build_problem(instance.table, instance.scenario)


def test_an_old_plan_is_a_start(large: PlanningProblem) -> None:
    cold = search(large)
    warm = search(large, Effort(incumbent_rows=cold.rows))
    assert warm.objective_s <= cold.objective_s * (1 + 1e-12)


def test_time_that_is_up_gives_a_plan_and_an_honest_bound(large: PlanningProblem) -> None:
    stopped = search(large, Effort(stop_at=time.perf_counter()))
    full = search(large)
    assert stopped.stopped
    assert large.keeps_limits(stopped.rows)
    assert stopped.lower_bound_s <= full.objective_s
    assert stopped.objective_s >= full.lower_bound_s


@pytest.mark.parametrize("num_clients", one_of(2, [5, 60]))
@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency", "energy"])
def test_a_time_limit_never_passes_for_a_proof(num_clients: int, minimise: str) -> None:
    instance = random_instance(
        6, num_clients=num_clients, num_options=8, minimise=minimise, server_memory=True, minimum_progress=0.4
    )
    plan = make_plan(instance.scenario, instance.table, "static", time_limit_s=0.0)
    best = make_plan(instance.scenario, instance.table, "static")
    assert plan.lower_bound_s <= best.objective_s * (1 + 1e-9)
    if minimise != "energy":
        assert plan.status in (PlanStatus.TIME_LIMIT, PlanStatus.OPTIMAL)
        assert (plan.status is PlanStatus.OPTIMAL) == (plan.gap <= 1e-6)


def test_planning_again_after_a_link_changed_starts_from_the_plan() -> None:
    instance = random_instance(6, num_clients=6, num_options=8)
    before = make_plan(instance.scenario, instance.table, "static")
    document = instance.scenario.model_dump(mode="json")
    document["radio"]["uplink_hz"] *= 0.9
    changed = validate_scenario(document, "test")
    cold = make_plan(changed, instance.table, "static")
    warm = make_plan(changed, instance.table, "static", warm_start=before)
    assert warm.objective_s == pytest.approx(cold.objective_s, rel=1e-6)
    hurried = make_plan(changed, instance.table, "static", warm_start=before, time_limit_s=0.0)
    fixed = {client.id: (client.cut, str(client.mode)) for client in before.clients}
    assert hurried.objective_s <= make_plan(changed, instance.table, "static", fixed=fixed).objective_s * (1 + 1e-9)
