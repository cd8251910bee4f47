"""The optimal strategy against trying every plan."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios.contracts.plan import PlanStatus
from solver.planner import make_plan
from tests.solver.brute import brute_force
from tests.solver.instances import random_instance


@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency"])
@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("server_memory", [False, True])
@pytest.mark.parametrize("seed", range(13))
def test_equals_brute_force(seed: int, server_memory: bool, link_model: str, minimise: str) -> None:
    rng = np.random.default_rng(seed)
    instance = random_instance(
        1000 + seed,
        num_clients=int(rng.integers(2, 5)),
        num_cuts=4,
        num_options=int(rng.integers(2, 5)),
        link_model=link_model,
        server_memory=server_memory,
        minimise=minimise,
    )
    expected_s = brute_force(instance)
    plan = make_plan(instance.scenario, instance.table)
    assert plan.lower_bound_s <= expected_s * (1 + 1e-7)
    assert plan.objective_s <= expected_s * (1 + 1e-4)
    assert plan.status is PlanStatus.OPTIMAL
    assert plan.objective_s >= expected_s * (1 - 1e-4)


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency"])
def test_minimum_progress_equals_brute_force(link_model: str, minimise: str) -> None:
    instance = random_instance(
        7, num_clients=3, num_options=4, link_model=link_model, minimise=minimise, minimum_progress=0.85
    )
    expected_s = brute_force(instance)
    plan = make_plan(instance.scenario, instance.table)
    assert plan.progress >= 0.85 * (1 - 1e-12)
    assert plan.objective_s == pytest.approx(expected_s, rel=1e-4)
    assert plan.lower_bound_s <= expected_s * (1 + 1e-7)
