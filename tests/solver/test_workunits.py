"""A search in parts: the same optimum, stoppable anywhere, and nothing lost or done twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridsplit.scenarios.contracts.plan import Plan, PlanStatus
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import search
from hybridsplit.solver.search.search_state import SearchState, WorkUnit
from hybridsplit.solver.search.work_units import UnitResult, covered_fraction, do_unit, run, start
from hybridsplit.testing.instances import random_instance
from tests.tiers import one_of


def build(seed: int, **keys: object) -> PlanningProblem:
    instance = random_instance(seed, **{"num_clients": 8, "num_options": 4, **keys})  # type: ignore[arg-type]
    return build_problem(instance.table, instance.scenario)


@pytest.mark.parametrize("minimise", ["time-to-progress", "round-latency"])
@pytest.mark.parametrize("link_model", one_of(2, ["fixed", "shannon"]))
def test_parts_find_the_optimum(link_model: str, minimise: str) -> None:
    problem = build(1, link_model=link_model, minimise=minimise, server_memory=True)
    state = run(problem, start(problem))
    assert state.open == ()
    assert state.best_s == pytest.approx(search(problem).objective_s, rel=2e-6)
    assert state.best_s is not None
    assert state.lower_s <= state.best_s
    assert covered_fraction(problem, state.closed) == 1


@pytest.mark.slow
def test_a_stopped_search_goes_on_from_its_file(tmp_path: Path) -> None:
    problem = build(2, num_clients=7)
    state, best_s = start(problem), search(problem).objective_s
    for _ in range(200):
        state = run(problem, state, max_units=3)
        assert covered_fraction(problem, (*state.open, *state.closed)) == 1
        assert state.lower_s <= best_s
        state.save(tmp_path / "state.json")
        state = SearchState.load(tmp_path / "state.json")
        if not state.open:
            break
    assert state.best_s == pytest.approx(search(problem).objective_s, rel=2e-6)
    assert state.best_rows is not None
    assert problem.keeps_limits(list(state.best_rows))  # type: ignore[arg-type]


def test_a_lost_or_doubled_unit_is_noticed() -> None:
    problem = build(3)
    state = run(problem, start(problem), max_units=4)
    assert len(state.open) >= 2
    lost = state.model_copy(update={"open": state.open[1:]})
    with pytest.raises(ContractError, match="instead of all of it"):
        run(problem, lost)
    doubled = state.model_copy(update={"open": (*state.open[1:], state.open[1])})
    with pytest.raises(ContractError, match="instead of all of it"):
        run(problem, doubled)
    nested = (WorkUnit(domain=(0,)), WorkUnit(prefix=(0,), domain=(0,)))
    assert covered_fraction(problem, nested) == 0


def test_another_scenario_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="another scenario"):
        run(build(5), start(build(4)))
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(ContractError, match="not a search state"):
        SearchState.load(tmp_path / "state.json")


def test_a_plan_to_start_from_is_kept_unless_a_better_one_is_known() -> None:
    problem = build(5)
    begun = start(problem).knowing(np.arange(5), 2.0)
    assert (begun.best_s, begun.best_rows) == (2.0, (0, 1, 2, 3, 4))
    assert begun.knowing(np.zeros(5, dtype=np.int64), 3.0) == begun
    assert begun.knowing(np.zeros(5, dtype=np.int64), 1.0).best_s == 1.0


@pytest.mark.slow
@pytest.mark.ray
def test_ray_tasks_find_the_optimum_from_where_they_stopped(tmp_path: Path) -> None:
    from hybridsplit.orchestrator.studies.distributed import Parts, SearchInParts

    instance = random_instance(6, num_clients=9, num_options=3)
    file = tmp_path / "state.json"
    seen: list[SearchState] = []

    def planned(max_units: int | None) -> Plan:
        strategy = SearchInParts(Parts(2, state_file=file, max_units=max_units), seen.append)
        return make_plan(instance.scenario, instance.table, strategy)

    begun = planned(1)
    assert seen[-1].open
    assert begun.status is PlanStatus.TIME_LIMIT
    closed = set(seen[-1].closed)
    done = planned(None)
    assert seen[-1].open == ()
    assert closed <= set(seen[-1].closed)
    whole = make_plan(instance.scenario, instance.table, "static")
    assert done.strategy == "static"
    assert done.objective_s == pytest.approx(whole.objective_s, rel=1e-6)
    assert done.lower_bound_s <= whole.objective_s
    assert done.status is PlanStatus.OPTIMAL
    assert done.schedule_lower_bound_s == pytest.approx(whole.schedule_lower_bound_s, rel=1e-2)
    number = len(seen)
    assert planned(None).clients == done.clients
    assert len(seen) == number


@pytest.mark.slow
@pytest.mark.ray
def test_two_machines_share_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.cluster_utils import Cluster

    from hybridsplit.orchestrator.studies import distributed

    def noted(problem: PlanningProblem, unit: str, incumbent_s: float) -> UnitResult:
        (tmp_path / ray.get_runtime_context().get_node_id()).touch()
        return do_unit(problem, WorkUnit.model_validate_json(unit), incumbent_s)

    monkeypatch.setattr(distributed, "_do", noted)
    instance = random_instance(6, num_clients=9, num_options=3)
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = machines.add_node(num_cpus=1)
    try:
        strategy = distributed.SearchInParts(distributed.Parts(2, address=machines.address), lambda state: None)
        shared = make_plan(instance.scenario, instance.table, strategy)
    finally:
        ray.shutdown()
        machines.shutdown()
    at_work = {path.name for path in tmp_path.iterdir()}
    assert len(at_work) == 2
    assert other.node_id in at_work
    whole = make_plan(instance.scenario, instance.table, "static")
    assert shared.status is PlanStatus.OPTIMAL
    assert shared.objective_s == pytest.approx(whole.objective_s, rel=1e-6)
