"""Shares at fixed options: conic program, water-filling, prices."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.shares.solution import conic_shares, equal_shares, optimal_shares, repair, replace_batch
from hybridsplit.solver.shares.waterfill import fill
from hybridsplit.testing.instances import Instance, random_instance
from tests.solver.brute import best_latency, collect
from tests.tiers import one_of

RESOURCES = (("uplink_hz", 0), ("downlink_hz", 1), ("server", 2))


def problem_with_rows(instance: Instance, seed: int) -> tuple[PlanningProblem, IntArray]:
    problem = build_problem(instance.table, instance.scenario)
    rng = np.random.default_rng(seed)
    ends = np.append(problem.starts[1:], problem.num_rows)
    return problem, np.array([rng.integers(a, b) for a, b in zip(problem.starts, ends, strict=True)])


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("num_clients", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", one_of(4, range(4)))
def test_conic_program_and_waterfilling_agree(num_clients: int, link_model: str, seed: int) -> None:
    instance = random_instance(seed, num_clients=num_clients, num_options=None, link_model=link_model)
    problem, rows = problem_with_rows(instance, seed)
    work = problem.work.take(rows)
    filled = fill(replace_batch(work), np.ones((1, num_clients)))
    conic_s = work.latency_s(repair(conic_shares(work).shares, work)).max()
    assert conic_s == pytest.approx(filled.latency_s[0], rel=1e-4)
    assert filled.lower_s[0] <= min(conic_s, filled.latency_s[0]) * (1 + 1e-12)
    assert filled.latency_s[0] <= filled.lower_s[0] * (1 + 1e-8)


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("seed", one_of(3, range(6)))
def test_waterfilling_equals_an_independent_optimiser(link_model: str, seed: int) -> None:
    instance = random_instance(seed, num_clients=4, num_options=1, link_model=link_model)
    problem = build_problem(instance.table, instance.scenario)
    columns = collect(instance)
    assert columns is not None
    upper_s, lower_s, _ = best_latency(columns, np.zeros(4, dtype=np.int64))
    found_s = optimal_shares(problem, np.arange(4)).round_latency_s
    assert lower_s * (1 - 1e-9) <= found_s <= upper_s * (1 + 1e-9)
    assert upper_s <= lower_s * (1 + 1e-6)


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
def test_a_batch_gives_what_single_plans_give(link_model: str) -> None:
    instance = random_instance(3, num_clients=5, num_options=None, link_model=link_model)
    pairs = [problem_with_rows(instance, seed) for seed in range(8)]
    problem = pairs[0][0]
    index = np.stack([rows for _, rows in pairs])
    batch = fill(problem.work.take(index), np.ones(index.shape))
    single = [fill(problem.work.take(rows[None, :]), np.ones((1, 5))).latency_s[0] for rows in index]
    np.testing.assert_allclose(batch.latency_s, single, rtol=1e-8)


def test_weights_stand_for_identical_clients() -> None:
    instance = random_instance(5, num_clients=3, num_options=None)
    problem, rows = problem_with_rows(instance, 0)
    weight = np.array([[2.0, 3.0, 1.0]])
    repeated = np.repeat(rows, [2, 3, 1])
    weighted = fill(problem.work.take(rows[None, :]), weight).latency_s[0]
    assert weighted == pytest.approx(fill(problem.work.take(repeated[None, :]), np.ones((1, 6))).latency_s[0], rel=1e-9)


def test_the_cutoff_gives_up_only_on_plans_above_it() -> None:
    instance = random_instance(3, num_clients=5, num_options=None)
    problem, rows = problem_with_rows(instance, 0)
    work = problem.work.take(rows[None, :])
    best_s = fill(work, np.ones((1, 5))).latency_s[0]
    assert np.isinf(fill(work, np.ones((1, 5)), cutoff_s=best_s * 0.9).latency_s[0])
    assert fill(work, np.ones((1, 5)), cutoff_s=best_s * 1.1).latency_s[0] == pytest.approx(best_s)


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("resource", RESOURCES, ids=[name for name, _ in RESOURCES])
@pytest.mark.parametrize("rule", [optimal_shares, equal_shares])
def test_prices_equal_what_resolving_with_more_gives(rule, resource: tuple[str, int], link_model: str) -> None:  # type: ignore[no-untyped-def]
    instance = random_instance(11, num_clients=5, num_options=None, link_model=link_model)
    _, rows = problem_with_rows(instance, 2)
    name, index = resource

    def latency_s(factor: float) -> float:
        document, table = instance.scenario.model_dump(mode="json"), instance.table.table.copy()
        if name == "server":
            table["server_compute_s"] /= factor
        else:
            document["radio"][name] *= factor
        scenario = validate_scenario(document, "test")
        return float(rule(build_problem(type(instance.table)(table), scenario), rows).round_latency_s)

    step = 1e-3
    measured = (latency_s(1 - step) - latency_s(1 + step)) / (2 * step)
    price = rule(build_problem(instance.table, instance.scenario), rows).prices_s[index]
    assert price == pytest.approx(measured, rel=1e-3, abs=1e-5 * latency_s(1.0))


def test_shares_are_exactly_feasible_after_repair() -> None:
    instance = random_instance(2, num_clients=6, num_options=None)
    problem, rows = problem_with_rows(instance, 0)
    work = problem.work.take(rows)
    rough = np.random.default_rng(0).uniform(-0.1, 1.0, (6, 3))
    shares = repair(rough, work)
    assert shares.min() >= 0
    assert np.all(shares.sum(axis=0) <= 1 + 1e-12)
    assert np.isfinite(work.latency_s(shares)).all()


def test_a_client_without_shared_work_sets_the_floor() -> None:
    instance = random_instance(4, num_clients=3, num_options=None)
    table = instance.table.table.copy()
    slow = table["client"] == "g0-0"
    table.loc[slow, "client_compute_s"] = 1e6
    for column in ("uplink_bytes", "downlink_bytes", "model_upload_bytes", "model_download_bytes", "server_compute_s"):
        table.loc[slow, column] = 0
    problem = build_problem(type(instance.table)(table), instance.scenario)
    solution = optimal_shares(problem, problem.starts)
    assert solution.round_latency_s == pytest.approx(1e6)
    assert solution.prices_s.tolist() == [0, 0, 0]
