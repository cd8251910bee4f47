"""Options under server memory and least progress, against trying every combination."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.kinds import ClientKinds, group_alike
from hybridsplit.solver.problem.limiting import with_objective
from hybridsplit.solver.search.knapsack import best_within_limits, reachable_progress
from hybridsplit.testing.instances import random_instance


def every_plan(kinds: ClientKinds) -> np.ndarray:
    ends = np.append(kinds.starts[1:], len(kinds.rows))
    own = [range(a, b) for a, b, n in zip(kinds.starts, ends, kinds.count, strict=True) for _ in range(n)]
    plans = np.zeros((int(np.prod([len(part) for part in own])), len(kinds.rows)), dtype=np.int64)
    for i, rows in enumerate(itertools.product(*own)):
        np.add.at(plans[i], list(rows), 1)
    return plans


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("copies", [1, 2])
def test_equals_trying_every_combination(seed: int, copies: int) -> None:
    instance = random_instance(seed, num_clients=4, copies=copies, num_options=5, server_memory=True)
    problem = build_problem(instance.table, instance.scenario)
    least = 0.97 * reachable_progress(group_alike(problem))
    kinds = group_alike(with_objective(problem, problem.objective, least))
    values = np.random.default_rng(seed).normal(size=len(kinds.rows))
    plans = every_plan(kinds)
    kept = [plan for plan in plans if kinds.keeps(plan)]
    found = best_within_limits(kinds, values, np.ones(len(values), dtype=bool))
    assert (found is not None) == bool(kept)
    if found is not None:
        assert kinds.keeps(found)
        assert found @ values == pytest.approx(max(plan @ values for plan in kept), abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_reachable_progress_bounds_every_plan(seed: int) -> None:
    instance = random_instance(seed, num_clients=4, num_options=5, server_memory=True)
    kinds = group_alike(build_problem(instance.table, instance.scenario))
    reached = [plan @ kinds.gain for plan in every_plan(kinds) if kinds.keeps(plan)]
    assert reachable_progress(kinds) == pytest.approx(max(reached), rel=1e-5)
    assert reachable_progress(kinds) >= max(reached) * (1 - 1e-6)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        instance = random_instance(seed, num_clients=40, num_options=6, server_memory=True, minimum_progress=0.7)
        kinds = group_alike(build_problem(instance.table, instance.scenario))
        best_within_limits(kinds, -kinds.full_share_s, np.ones(len(kinds.rows), dtype=bool))
    assert capfd.readouterr() == ("", "")
