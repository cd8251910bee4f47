"""The pieces of the bound: valid at any multipliers, sharp where the search says so."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.solver.bound.deadline import interval_bound, shortest_deadline
from hybridsplit.solver.bound.dual import DualPoint, capacity_value, kind_total, most_gain, option_values
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.costs import AnySchedule, StaticShares
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import search
from hybridsplit.solver.shares.waterfill import fill
from hybridsplit.testing.instances import random_instance

few = settings(max_examples=15, deadline=None)
every_link = st.sampled_from(["fixed", "shannon"])


def random_plans(problem: PlanningProblem, seed: int, number: int = 30) -> tuple[IntArray, np.ndarray, np.ndarray]:
    """Rows, exact round latencies and progress of random plans."""
    rng = np.random.default_rng(seed)
    ends = np.append(problem.starts[1:], problem.num_rows)
    rows = np.stack([rng.integers(a, b, number) for a, b in zip(problem.starts, ends, strict=True)], axis=1)
    filled = fill(problem.work.take(rows), np.ones(rows.shape))
    return rows, filled.latency_s, problem.gain[rows].sum(axis=1)


def random_point(rng: np.random.Generator, num_limits: int = 0) -> DualPoint:
    return DualPoint(10 ** rng.uniform(-3, 0.5, 3), 10 ** rng.uniform(-3, 0, num_limits), 1.0)


@few
@given(seed=st.integers(0, 10_000), link_model=every_link)
def test_any_multipliers_bound_the_progress_of_any_plan(seed: int, link_model: str) -> None:
    instance = random_instance(seed, num_clients=4, num_options=None, num_cuts=3, link_model=link_model)
    problem = build_problem(instance.table, instance.scenario)
    kinds, rng = group_alike(problem), np.random.default_rng(seed)
    _, latency_s, progress = random_plans(problem, seed)
    for rule in (StaticShares(), AnySchedule()):
        point = random_point(rng)
        for seconds, reached in zip(latency_s, progress, strict=True):
            values, _ = option_values(kinds, rule, point, seconds * (1 + 1e-9))
            assert kind_total(kinds, values) + capacity_value(point) >= reached * (1 - 1e-9)


@few
@given(seed=st.integers(0, 10_000), link_model=every_link)
def test_interval_bounds_hold_for_any_plan_inside(seed: int, link_model: str) -> None:
    instance = random_instance(seed, num_clients=4, num_options=None, num_cuts=3, link_model=link_model)
    problem = build_problem(instance.table, instance.scenario)
    kinds, rng = group_alike(problem), np.random.default_rng(seed)
    _, latency_s, progress = random_plans(problem, seed)
    for _ in range(5):
        low_s, high_s = np.sort(rng.uniform(latency_s.min(), latency_s.max(), 2))
        bound_s = interval_bound(kinds, StaticShares(), random_point(rng), low_s, high_s)
        inside = (latency_s >= low_s) & (latency_s <= high_s)
        assert np.all(latency_s[inside] / progress[inside] >= bound_s * (1 - 1e-9))


@few
@given(
    seed=st.integers(0, 10_000), link_model=every_link, minimise=st.sampled_from(["time-to-progress", "round-latency"])
)
def test_bounds_hold_for_every_plan_and_are_ordered(seed: int, link_model: str, minimise: str) -> None:
    instance = random_instance(seed, num_clients=5, num_options=6, link_model=link_model, minimise=minimise)
    problem = build_problem(instance.table, instance.scenario)
    result = search(problem)
    _, latency_s, progress = random_plans(problem, seed)
    keeps = progress >= problem.minimum_progress
    objective = np.array([problem.objective_s(t, g) for t, g in zip(latency_s, progress, strict=True)])[keeps]
    assert np.all(objective >= result.lower_bound_s)
    assert result.schedule_lower_bound_s <= result.lower_bound_s <= result.objective_s


def test_the_schedule_bound_holds_for_turns_on_one_uplink() -> None:
    # Clients that send one after another, each with the whole band: the latency of the last is the schedule's.
    instance = random_instance(
        9, num_clients=4, num_options=None, num_cuts=3, minimise="round-latency", minimum_progress=0.0
    )
    problem = build_problem(instance.table, instance.scenario)
    result = search(problem)
    ends = np.append(problem.starts[1:], problem.num_rows)
    rng = np.random.default_rng(0)
    for _ in range(300):
        rows = np.array([rng.integers(a, b) for a, b in zip(problem.starts, ends, strict=True)])
        order = rng.permutation(len(rows))
        clock = dict.fromkeys(("up", "server", "down"), 0.0)
        finish = 0.0
        for client in order:
            row = rows[client]
            now = float(problem.work.compute_s[row])
            stages = (
                ("up", problem.work.uplink.seconds(1.0)[row]),
                ("server", problem.work.server_s[row]),
                ("down", problem.work.downlink_s[row]),
            )
            for stage, seconds in stages:
                now = clock[stage] = max(now, clock[stage]) + float(seconds)
            finish = max(finish, now)
        assert finish >= result.schedule_lower_bound_s


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
def test_progress_rises_with_the_deadline_and_infeasible_ones_are_certified(link_model: str) -> None:
    instance = random_instance(3, num_clients=6, num_options=None, link_model=link_model)
    kinds = group_alike(build_problem(instance.table, instance.scenario))
    shortest_s = shortest_deadline(kinds, StaticShares(), 1e6).deadline_s
    too_short = most_gain(kinds, StaticShares(), shortest_s * 0.98)
    assert too_short is None or too_short.value < 0
    values = []
    for factor in (1.02, 1.1, 1.5, 3.0, 10.0):
        solution = most_gain(kinds, StaticShares(), shortest_s * factor)
        assert solution is not None
        values.append(solution.value)
    assert np.all(np.diff(values) > -1e-5)
    assert values[0] >= 0


def test_dominated_options_change_nothing() -> None:
    instance = random_instance(5, num_clients=4, num_options=6)
    table = instance.table.table
    worse = table.copy()
    worse["cut"] += 50
    worse["client_compute_s"] *= 1.5
    problem = build_problem(instance.table, instance.scenario)
    both = type(instance.table)(__import__("pandas").concat([table, worse]))
    wider = build_problem(both, instance.scenario)
    assert len(group_alike(wider).rows) == len(group_alike(problem).rows)
    assert search(wider).objective_s == pytest.approx(search(problem).objective_s, rel=1e-9)


def test_the_solver_imports_no_deep_learning_framework() -> None:
    code = (
        "import sys, hybridsplit.solver.planner, hybridsplit.solver.explain.decomposition; "
        "print([m for m in ('torch', 'ray', 'transformers') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
