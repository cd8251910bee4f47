"""Walks of rounds: the same to the bit when compiled, and whatever was walked before."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hybridsplit.scenarios.compiled.compiling import COMPILED, PYTHON, has_numba
from hybridsplit.solver.relays.changes import Begun, Changes
from hybridsplit.solver.relays.columns import column_of
from hybridsplit.solver.relays.dealing import Dealt
from hybridsplit.solver.relays.routes import is_possible, routes_of
from hybridsplit.solver.relays.task import Placed, Task, with_deep_depths, with_depths
from hybridsplit.solver.relays.walk import Walker, walk
from hybridsplit.solver.relays.windows import every_cuts
from tests.solver.relays.tasks import random_costs, relay_scenario
from tests.solver.relays.test_replicas import replicated


def drawn_round(seed: int) -> tuple[Task, Placed, list[int]]:
    """Placements of some clients, with replicas in a third of the rounds, and their turns."""
    rng = np.random.default_rng([seed, 3])
    trains = seed % 4 != 3
    counts = (4, 3, 2)
    minimise = "round-latency" if trains else "inference-latency"
    make = replicated if trains and seed % 3 == 0 else relay_scenario
    scenario = make(counts, shared=bool(seed % 2), numbers=(1, 4), rate_bps=float(10 ** rng.uniform(6.5, 9)), **(
        {} if make is replicated else {"minimise": minimise}
    ))  # fmt: skip
    costs = random_costs(rng, 4, (1, 4), trains=trains)
    task = Task(scenario, costs, routes_of(scenario, costs), math.inf)
    columns = []
    for group in task.groups:
        routes = [route for route in task.routes if route.group == group]
        route = routes[int(rng.integers(len(routes)))]
        every = every_cuts(route)
        columns.append(column_of(route, tuple(int(cut) for cut in every[int(rng.integers(len(every)))])))
    placed = (with_depths if seed % 2 else with_deep_depths)(task, columns)
    return task, placed, rng.permutation(len(columns)).tolist()


@pytest.mark.skipif(not has_numba(), reason="Numba is not installed")
def test_compiled_walks_give_the_same_bits() -> None:
    for seed in range(24):
        task, placed, turns = drawn_round(seed)
        wanted = Walker(trains=task.trains, form=PYTHON).ends_s(placed, turns)
        found = Walker(trains=task.trains, form=COMPILED).ends_s(placed, turns)
        assert [one.hex() for one in found] == [one.hex() for one in wanted]


def test_what_was_walked_before_changes_nothing() -> None:
    for seed in range(6):
        task, placed, turns = drawn_round(seed)
        walker = Walker(trains=task.trains)
        walker.ends_s(placed[::2])
        walker.ends_s(placed[::-1], turns)
        assert walker.ends_s(placed, turns) == walk(placed, turns, trains=task.trains)


def test_of_alike_clients_the_first_in_turn_is_through_first() -> None:
    scenario = relay_scenario((3,), shared=True, numbers=(1,))
    costs = random_costs(np.random.default_rng(0), 3, (1,), trains=True)
    task = Task(scenario, costs, routes_of(scenario, costs), math.inf)
    route = task.routes[0]
    column = column_of(route, tuple(int(cut) for cut in every_cuts(route)[-1]))
    placed = with_depths(task, [column] * 3)
    first, second, third = walk(placed, [0, 1, 2], trains=True)
    assert first < second < third
    assert walk(placed, [2, 0, 1], trains=True) == [third, first, second]


def test_changes_keep_clients_and_give_them_placements_of_their_own_routes() -> None:
    task, placed, _ = drawn_round(1)
    kinds = {group: place for place, group in enumerate(dict.fromkeys(task.groups))}
    dealt = tuple(Dealt(column, kinds[column.route.group], 0.0, 0.0, 1.0) for column, _ in placed)
    ends_s = np.array(walk(placed, trains=task.trains))
    changes = Changes(task.routes, dealt, np.random.default_rng(0))
    begun = Begun(dealt, np.linspace(0.0, 1.0, len(dealt)))
    kept = 0
    for _ in range(300):
        changed = changes.drawn(begun, ends_s)
        if changed is None:
            continue
        kept += 1
        assert [one.column.route.group for one in changed.dealt] == task.groups
        assert all(any(one.column.route is route for route in task.routes) for one in changed.dealt)
        assert all(is_possible(one.column.route, one.column.cuts) for one in changed.dealt)
        assert (changed.begins_s.tolist(), changed.dealt) != (begun.begins_s.tolist(), begun.dealt)
        begun = changed
    assert kept > 100
