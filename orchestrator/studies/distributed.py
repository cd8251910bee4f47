"""Do the work units of a search as Ray tasks, on this machine or on a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.work_units import SearchState, UnitResult, WorkUnit, check_state, do_unit, start, step


def distributed_search(
    scenario: Scenario,
    options: OptionTable,
    *,
    num_workers: int,
    state_file: Path | None = None,
    max_units: int | None = None,
    on_progress: Callable[[SearchState], None] = lambda state: None,
) -> SearchState:
    """Search with Ray tasks until no unit is open, or as many as asked are done.

    Parameters
    ----------
    scenario, options
        The scenario and its option table; every worker gets them once.
    num_workers
        Tasks that run at a time.
    state_file
        Where the state is kept: an existing one is taken up again, and it is written after every unit.
    max_units
        Stop after so many units.
    on_progress
        Called with the state after every unit.

    Returns
    -------
    SearchState
        Best plan, bound, and the open units to go on with.

    Raises
    ------
    ContractError
        If the state file is damaged or belongs to another scenario.
    """
    import ray

    from hybridsplit.runtime.executors.ray_cluster import RayCluster

    problem = build_problem(options, scenario)
    state = SearchState.load(state_file) if state_file is not None and state_file.is_file() else start(problem)
    check_state(problem, state)
    with RayCluster(None, num_workers):
        return _drive(ray, problem, state, num_workers, state_file, max_units, on_progress)


def _drive(  # type: ignore[no-untyped-def]
    ray, problem: PlanningProblem, state: SearchState, num_workers: int, state_file, max_units, on_progress
) -> SearchState:
    shared = ray.put(problem)
    task = ray.remote(num_cpus=1)(_do)
    running: dict[object, WorkUnit] = {}
    number = 0
    while True:
        waiting = sorted(
            (unit for unit in state.open if unit not in running.values()), key=lambda u: (-len(u.prefix), u.lower_s)
        )
        while waiting and len(running) < num_workers and (max_units is None or number < max_units):
            unit = waiting.pop(0)
            incumbent_s = math.inf if state.best_s is None else state.best_s
            running[task.remote(shared, unit.model_dump_json(), incumbent_s)] = unit
            number += 1
        if not running:
            return state
        (finished,), _ = ray.wait(list(running), num_returns=1)
        state = step(state, [(running.pop(finished), ray.get(finished))])
        if state_file is not None:
            state.save(state_file)
        on_progress(state)


def _do(problem: PlanningProblem, unit: str, incumbent_s: float) -> UnitResult:
    return do_unit(problem, WorkUnit.model_validate_json(unit), incumbent_s)
