"""The front over relays: points are the best of all placements under their limit, and the tightest is found."""

from __future__ import annotations

import itertools
import math

import pytest

from hybridsplit.orchestrator.relays.pareto import RelayFront, relay_front
from hybridsplit.orchestrator.studies.front import front_document, front_over
from hybridsplit.scenarios.errors import InfeasibleError, UsageError
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.routes import routes_of
from hybridsplit.solver.relays.task import Task, with_depths
from tests.solver.relays.test_plans import every_column, task

NUM_POINTS = 6


def limited(scenario: RelayScenario, share: float) -> RelayScenario:
    groups = tuple(
        group.model_copy(update={"memory_budget_bytes": math.ceil(share * group.memory_budget_bytes)})
        for group in scenario.clients
    )
    return scenario.model_copy(update={"clients": groups})


@pytest.mark.parametrize("minimise", ["round-latency", "inference-latency"])
def test_points_of_a_client_alone_are_the_best_of_all_placements_under_their_limit(minimise: str) -> None:
    for seed in range(3):
        scenario, costs = task(seed, minimise)
        front = front_over(RelayFront(scenario, costs), NUM_POINTS)
        for point in front.points:
            under = limited(scenario, point.limit)
            whole = Task(under, costs, routes_of(under, costs), math.inf)
            best = min(whole.value_s(with_depths(whole, [one])) for one in every_column(under, costs)["g0"])
            assert point.lower_bound_s <= best * (1 + 1e-9)
            assert best * (1 - 1e-9) <= point.latency_s <= best * (1 + scenario.search.gap) * (1 + 1e-9)
            assert point.x <= point.limit
        with pytest.raises(InfeasibleError):  # no placement needs less memory than the first point
            every_column(limited(scenario, front.points[0].x * (1 - 2e-3)), costs)


def test_no_point_beats_another_and_all_are_bounded() -> None:
    scenario, costs = task(1, "round-latency", (2, 1), shared=True, search={"time_limit_s": 2.0})
    front = front_over(RelayFront(scenario, costs), NUM_POINTS)
    assert len(front.points) >= 2
    for before, after in itertools.pairwise(front.points):
        assert before.x < after.x <= 1
        assert before.latency_s > after.latency_s
    document = front_document(front)
    assert document["y"] == "round_latency_s"
    for point in document["points"]:
        assert point["lower_bound_s"] <= point["round_latency_s"]
    assert 0 <= document["hypervolume"] <= document["hypervolume_bound"] <= 1 + 1e-9


def test_only_memory_is_traded() -> None:
    with pytest.raises(UsageError, match="--x energy: over relays"):
        relay_front(task(0, "round-latency")[0], "energy", 4)
