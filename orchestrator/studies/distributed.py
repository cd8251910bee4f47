"""The search for constant shares in parts: its work units are Ray tasks, on this machine or on a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridsplit.scenarios.errors import RunError
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult, bounded, search
from hybridsplit.solver.search.search_state import SearchState, WorkUnit
from hybridsplit.solver.search.work_units import UnitResult, check_state, do_unit, start, step
from hybridsplit.solver.strategies.static import Static

_LOOK_S = 0.5
"""How often it is seen whether the time is up."""


@dataclass(frozen=True)
class Parts:
    """How a search in parts is carried out.

    Parameters
    ----------
    num_workers
        Tasks that run at a time.
    address
        Address of a running Ray cluster to join; None starts one on this machine.
    state_file
        Where the parts are kept: an existing file is taken up again, and it is written after every part.
    max_units
        Stop after so many parts; None for no limit.
    """

    num_workers: int
    address: str | None = None
    state_file: Path | None = None
    max_units: int | None = None


class SearchInParts(Static):
    """The strategy ``static``, whose search is divided among Ray tasks.

    Parameters
    ----------
    parts
        How it is carried out.
    on_progress
        Called with the state after every part.
    """

    def __init__(self, parts: Parts, on_progress: Callable[[SearchState], None] = lambda state: None) -> None:
        self._parts, self._on_progress = parts, on_progress

    def searched(self, problem: PlanningProblem, effort: Effort) -> SearchResult:
        """Search by Ray tasks, from the best of the first plans on.

        Raises
        ------
        ContractError
            If the state file is damaged, or belongs to another problem.
        UsageError
            If the problem is none that is searched in parts.
        RunError
            If Ray's processes die.
        """
        begun = start(problem)
        # A search that has no time left has looked at the first plans alone.
        first = search(problem, Effort(stop_at=0.0, incumbent_rows=effort.incumbent_rows))
        state = distributed_search(
            problem, self._parts, begun.knowing(first.rows, first.objective_s), is_over=lambda: effort.is_over,
            on_progress=self._on_progress,
        )  # fmt: skip
        state = state.knowing(first.rows, first.objective_s)
        assert state.best_rows is not None
        assert state.best_s is not None
        rows = np.array(state.best_rows, dtype=np.int64)
        return bounded(problem, rows, state.best_s, state.lower_s, effort, stopped=bool(state.open))


def distributed_search(
    problem: PlanningProblem,
    parts: Parts,
    begun: SearchState | None = None,
    *,
    is_over: Callable[[], bool] = lambda: False,
    on_progress: Callable[[SearchState], None] = lambda state: None,
) -> SearchState:
    """Search with Ray tasks until no unit is open, the time is up, or as many as asked are done.

    Parameters
    ----------
    problem
        Options, objective and limits; every worker gets them once.
    parts
        How it is carried out.
    begun
        Where to start, where no file says so; with nothing known when None.
    is_over
        Stops when it returns True; units that are being done then stay open.
    on_progress
        Called with the state after every unit.

    Returns
    -------
    SearchState
        Best plan, bound, and the open units to go on with.

    Raises
    ------
    ContractError
        If the state file is damaged or belongs to another problem.
    UsageError
        If the problem is none that is searched in parts.
    RunError
        If Ray's processes die.
    """
    import ray

    from hybridsplit.runtime.executors.ray_cluster import RayCluster

    kept = parts.state_file is not None and parts.state_file.is_file()
    state = SearchState.load(parts.state_file) if kept and parts.state_file is not None else begun or start(problem)
    check_state(problem, state)
    if not state.open:
        return state
    try:
        with RayCluster(parts.address, parts.num_workers):
            return _drive(problem, state, parts, is_over, on_progress)
    except ray.exceptions.RayError as error:
        raise RunError(f"a process of Ray died in the search ({type(error).__name__}): {_remedy(parts)}") from error


def _remedy(parts: Parts) -> str:
    if parts.state_file is None:
        return "plan again, with --parts FILE.json to keep what is done, or without --workers"
    return f"what is done stands in {parts.state_file}: the same command goes on from there"


def _drive(
    problem: PlanningProblem,
    state: SearchState,
    parts: Parts,
    is_over: Callable[[], bool],
    on_progress: Callable[[SearchState], None],
) -> SearchState:
    import ray

    from hybridsplit.runtime.executors.ray_waiting import first_of, result_of

    shared = ray.put(problem)
    task = ray.remote(num_cpus=1)(_do)
    running: dict[Any, WorkUnit] = {}
    number = 0
    while not is_over():
        at_work = set(running.values())
        waiting = sorted(
            (unit for unit in state.open if unit not in at_work), key=lambda u: (-len(u.prefix), u.lower_s)
        )
        for unit in waiting[: parts.num_workers - len(running)]:
            if parts.max_units is not None and number >= parts.max_units:
                break
            incumbent_s = math.inf if state.best_s is None else state.best_s
            running[task.remote(shared, unit.model_dump_json(), incumbent_s)] = unit
            number += 1
        if not running:
            return state
        finished, _ = first_of(list(running), _LOOK_S, "a part of the search", _remedy(parts))
        for ref in finished:
            state = step(state, [(running.pop(ref), result_of(ref, "a part of the search", _remedy(parts)))])
            if parts.state_file is not None:
                state.save(parts.state_file)
            on_progress(state)
    return state


def _do(problem: PlanningProblem, unit: str, incumbent_s: float) -> UnitResult:
    return do_unit(problem, WorkUnit.model_validate_json(unit), incumbent_s)
