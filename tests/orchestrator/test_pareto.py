"""Fronts: every point is optimal under its limit, none is beaten, and the area is that of the points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hybridsplit.orchestrator.studies.front import front_document, hypervolume
from hybridsplit.orchestrator.studies.pareto import pareto_front
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.testing.instances import Instance, random_instance
from tests.solver.brute import brute_force


@pytest.fixture(scope="module")
def instance() -> Instance:
    drawn = random_instance(4, num_clients=3, num_options=6, minimise="round-latency", minimum_progress=0.0)
    table = drawn.table.table.copy()
    # Exact gradients are slow and everything fits, so that every figure trades against latency.
    table.loc[table["mode"].isin(["fo", "fo-recompute"]), "client_compute_s"] *= 6
    return Instance(drawn.scenario, OptionTable(table))


@pytest.mark.parametrize("axis", ["memory", "energy", "progress"])
def test_no_point_beats_another_and_all_are_bounded(axis: str, instance: Instance) -> None:
    front = pareto_front(instance.scenario, instance.table, axis, 8)
    assert len(front.points) >= 2
    worse = [-point.x if axis == "progress" else point.x for point in front.points]
    # Along the front one figure gets strictly worse while the other gets strictly better.
    by_x = sorted(zip(worse, (point.latency_s for point in front.points), strict=True))
    for (x_before, before_s), (x_after, after_s) in itertools.pairwise(by_x):
        assert x_before < x_after
        assert before_s > after_s
    for point in front.points:
        assert point.lower_bound_s <= point.latency_s <= point.lower_bound_s * (1 + 1e-5)
    document = front_document(front)
    assert 0 <= document["hypervolume"] <= document["hypervolume_bound"] <= 1 + 1e-9


@pytest.mark.parametrize("axis", ["energy", "progress"])
def test_points_are_optimal_under_their_limit(axis: str, instance: Instance) -> None:
    front = pareto_front(instance.scenario, instance.table, axis, 4)
    key = "energy_cap_j" if axis == "energy" else "minimum_progress"
    for point in front.points:
        document = instance.scenario.model_dump(mode="json")
        document["objective"][key] = point.limit
        truth = brute_force(Instance(validate_scenario(document, "test"), instance.table))
        assert point.latency_s == pytest.approx(truth.upper, rel=1e-6)


def test_hypervolume_is_the_area_of_rectangles() -> None:
    assert hypervolume([(0.0, 0.0)], (1.0, 1.0)) == pytest.approx(1.0)
    assert hypervolume([(0.25, 0.5), (0.5, 0.25)], (1.0, 1.0)) == pytest.approx(0.375 + 0.125)
    assert hypervolume([(0.25, 0.5), (0.3, 0.6), (2.0, 0.0)], (1.0, 1.0)) == pytest.approx(0.375)
    points = np.random.default_rng(0).uniform(size=(20, 2))
    grid = (np.arange(400) + 0.5) / 400
    x, y = np.meshgrid(grid, grid)
    covered = np.zeros(x.shape, dtype=bool)
    for point in points:
        covered |= (x >= point[0]) & (y >= point[1])
    assert hypervolume([tuple(p) for p in points], (1.0, 1.0)) == pytest.approx(covered.mean(), abs=5e-3)
