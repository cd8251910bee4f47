"""From costs to a verified plan: bound, placements, warm-up depths, and the round of all clients in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.solver.chain.least_bottleneck import burst_of_items, least_period
from hybridsplit.solver.chain.training_bound import least_training_bound
from hybridsplit.solver.chain.values import FloatArray
from hybridsplit.solver.relays.columns import Column, column_of
from hybridsplit.solver.relays.crowd import Crowds
from hybridsplit.solver.relays.deadline import Deadline
from hybridsplit.solver.relays.integer import listed, whole_choice
from hybridsplit.solver.relays.master import Master, Relaxed
from hybridsplit.solver.relays.rounding import Loads, improved, rounded
from hybridsplit.solver.relays.routes import own_seconds, routes_of, within_own
from hybridsplit.solver.relays.search import Search
from hybridsplit.solver.relays.task import PERIOD, Placed, Task, fits_memory, with_depths

FEW_CLIENTS = 24
"""So many are searched by changing one placement at a time."""
_EXACT = 1e-9
_SHORTER = (0.85, 0.7, 0.5)
_SHORT_S = 2.0
_RELAXING, _BOUNDING = 0.2, 0.2
"""Shares of the time that is left, for the relaxation and for a bound by deadlines."""
_ENDS, _FINER = (1, 4, 10), (20, 40)
"""Into how many intervals the ends of clients are split, one after another: before plans are searched, and beside."""


@dataclass(frozen=True)
class Planned:
    """Placements with their value and bound.

    Parameters
    ----------
    placed
        Of every client.
    value_s, lower_bound_s
        What was minimised, and what no placement is below.
    num_columns
        Placements that were looked at.
    turns
        Whose turn it is of clients that arrive at once; all equal when empty.
    """

    placed: Placed
    value_s: float
    lower_bound_s: float
    num_columns: int
    turns: tuple[int, ...] = ()


def best_placements(
    scenario: RelayScenario, costs: RelayCosts, most_cuts: int | None = None, *, time_limit_s: float | None = None
) -> Planned:
    """Return the best placements found, with a bound for any.

    Parameters
    ----------
    scenario, costs
        The scenario, and what blocks cost.
    most_cuts
        Most cuts; those of the scenario when None.
    time_limit_s
        Seconds after which the best found is taken; the scenario's when None.

    Raises
    ------
    ScenarioError
        If the network has too many ways.
    InfeasibleError
        If memory does not hold what must run.
    """
    begun = time.monotonic()
    deadline = begun + (scenario.search.time_limit_s if time_limit_s is None else time_limit_s)
    task = Task(scenario, costs, routes_of(scenario, costs, most_cuts), deadline)
    best_alone = {group.group: _alone_bounds(task, group.group) for group in scenario.clients}
    bound = max(bounds[0][0] for bounds in best_alone.values())
    counts = {group.group: group.count for group in scenario.clients}
    latency = scenario.objective.minimise != PERIOD
    is_listable = latency and Deadline.is_listable(task.routes, counts)
    if is_listable and scenario.num_clients > FEW_CLIENTS:
        return _of_many(task, counts, best_alone, bound)
    relaxed, proven = _relaxed(task, counts, best_alone)
    bound = max(bound, proven)
    starts = [_whole(task, relaxed, counts), *_alike(task, best_alone)]
    starts, bound = _with_integer(task, relaxed, counts, starts, bound)
    starts = [start for start in starts if fits_memory(task, start)]
    if is_listable and scenario.num_clients > 1:
        known_s = min(task.value_s(with_depths(task, start)) for start in starts)
        bound = _by_deadline(task, Deadline(task.routes, counts, task.memory_bytes), bound, known_s, _ENDS[1:2])
    if len(starts[0]) <= FEW_CLIENTS and latency:
        search = Search(task, relaxed.columns, bound * (1 + scenario.search.gap))
        placed, value = search.best_of(starts)
    else:
        placed, value = min(
            ((placed, task.value_s(placed)) for placed in (with_depths(task, start) for start in starts)),
            key=lambda item: item[1],
        )
    _check_bound(value, bound)
    return Planned(placed, value, min(bound, value), len(relaxed.columns))


def _of_many(
    task: Task, counts: dict[str, int], best_alone: dict[str, list[tuple[float, int, Column]]], bound: float
) -> Planned:
    """Plan a round of many clients by what machines and links can be asked for until a deadline."""
    master = Master(task.routes, counts, task.memory_bytes, counts_latency=True)
    for column in {column.key: column for bounds in best_alone.values() for _, _, column in bounds}.values():
        master.add(column)
    relaxed = master.solve(_share_of_time(task, _RELAXING))
    _check_memory(task, relaxed)
    bound = max(bound, relaxed.lower_bound_s)
    starts = [start for start in (_whole(task, relaxed, counts), *_alike(task, best_alone)) if fits_memory(task, start)]
    known = [with_depths(task, start) for start in starts]
    value, placed = min(((task.value_s(one), one) for one in known), key=lambda item: item[0])
    turns: tuple[int, ...] = ()
    deadline = Deadline(task.routes, counts, task.memory_bytes)
    bound = _by_deadline(task, deadline, bound, value, _ENDS)
    if value > bound * (1 + task.scenario.search.gap):
        # Moments that raise the bound make solutions no better to begin with: these find their own.
        own = Deadline(task.routes, counts, task.memory_bytes)
        crowds = Crowds(task, own, bound, value, task.deadline)
        known_s = min(value, crowds.best.value_s if crowds.best else value)
        # A finer bound beside the changes: HiGHS and compiled walks let other threads go on.
        with ThreadPoolExecutor(1) as beside:
            finer = beside.submit(_by_deadline, task, deadline, bound, known_s, _FINER, 1.0)
            try:
                if not crowds.change():
                    with suppress(SolverFailure):  # The coarser bound holds as well.
                        bound = finer.result()
            finally:
                deadline.stop()
        if crowds.best is not None:
            placed, turns, value = crowds.best
    _check_bound(value, bound)
    return Planned(placed, value, min(bound, value), len(relaxed.columns) + deadline.num_placements, turns)


def _by_deadline(
    task: Task, deadline: Deadline, bound: float, known_s: float, numbers: Sequence[int], share: float = _BOUNDING
) -> float:
    """Raise a bound by deadlines that are too short, with the ends of clients split into these numbers of intervals."""
    for ends in numbers:
        if known_s <= bound * (1 + task.scenario.search.gap) or not deadline.takes(ends):
            break
        bound, _ = deadline.shortest(bound, known_s, _share_of_time(task, share), ends=ends)
    return bound


def _share_of_time(task: Task, share: float) -> float:
    now = time.monotonic()
    return now + (task.deadline - now) * share


def _check_bound(value: float, bound: float) -> None:
    if value < bound * (1 - 1e-9):
        raise SolverFailure(f"the placements take {value:.9g} s, below their bound of {bound:.9g} s: a fault of ours")


def _with_integer(
    task: Task, relaxed: Relaxed, counts: dict[str, int], starts: list[list[Column]], bound: float
) -> tuple[list[list[Column]], float]:
    """Put the whole placements of the integer programme first, and raise the bound to what it proves.

    All placements are listed where there are few, so that its bound holds for any; else those of the relaxation.
    """
    every = listed(task.routes)
    fitting = [start for start in starts if fits_memory(task, start)]
    known = min(task.value_s(with_depths(task, start)) for start in fitting)
    if known <= bound * (1 + _EXACT):
        return starts, bound
    columns: Sequence[Column] = every or relaxed.columns
    found: list[list[Column]] = []
    first_s, below_s = np.inf, known
    for next_share in (0.02, 0.3, 0.0):
        # The programme takes a group's mean of what clients take alone; with less at most, the longest is nearer to it.
        limit_s = max(0.1, (task.deadline - time.monotonic()) / 4)
        chosen, numbers, proven = whole_choice(task, columns, counts, below_s, limit_s)
        if first_s == np.inf:
            first_s = max(proven, bound)
            bound = first_s if every is not None else bound
        if chosen:
            found.append(_dealt(task, chosen, numbers))
            known = min(known, task.value_s(with_depths(task, found[-1])))
        if known <= bound * (1 + task.scenario.search.gap):
            break
        below_s = first_s + (known - first_s) * next_share
    shorter = _SHORTER if time.monotonic() < task.deadline else ()
    for share in shorter if len(starts[0]) > FEW_CLIENTS and task.scenario.objective.minimise != PERIOD else ():
        # Of many clients, those that take long alone start late and end last.
        chosen, numbers, _ = whole_choice(task, relaxed.columns, counts, share * known, _SHORT_S)
        if chosen:
            found.append(_dealt(task, chosen, numbers))
    return [*found, *starts], bound


def _relaxed(
    task: Task, counts: dict[str, int], best_alone: dict[str, list[tuple[float, int, Column]]]
) -> tuple[Relaxed, float]:
    """Return the relaxation to round, and a bound.

    A plan of T seconds has no client whose own machine or link is busy for longer, so it keeps the relaxation over
    placements of at most T of these. The least t that is no shorter than its own relaxation is searched by halving; a
    plan takes that, or what the relaxation of the next smaller t proves.
    """
    begun = time.monotonic()
    until = begun + (task.deadline - begun) / 2
    known = {column.key: column for bounds in best_alone.values() for _, _, column in bounds}

    def solved(most_own_s: float) -> Relaxed | None:
        routes = [one for route in task.routes if (one := within_own(route, most_own_s)) is not None]
        if {route.group for route in routes} != set(counts):
            return None
        latency = task.scenario.objective.minimise != PERIOD
        master = Master(routes, counts, task.memory_bytes, counts_latency=latency)
        for column in known.values():
            if column.own_s <= most_own_s:
                master.add(column)
        found = master.solve(until)
        known.update({column.key: column for column in found.columns})
        return found

    relaxed = solved(np.inf)
    assert relaxed is not None, "every group has a route with a placement"
    _check_memory(task, relaxed)
    bound = relaxed.lower_bound_s
    longest_s = max(c.own_s for c, weight in zip(relaxed.columns, relaxed.weights, strict=True) if weight > 0)
    values = np.unique(np.concatenate([own_seconds(route) for route in task.routes]))
    values = values[values < longest_s]
    # The first that is below the bound fails, and shows what the next smaller choice would take.
    low, high = max(0, int(np.searchsorted(values, bound)) - 1), len(values)
    above_s, below_s, best_s = longest_s, bound, max(bound, longest_s)
    while low < high and time.monotonic() < until:
        middle = (low + high) // 2
        tried = solved(float(values[middle]))
        reached_s = np.inf if tried is None or tried.overflow else tried.lower_bound_s
        if tried is not None and max(reached_s, float(values[middle])) < best_s:
            relaxed, best_s = tried, max(reached_s, float(values[middle]))
        if reached_s > values[middle]:
            low, below_s = middle + 1, reached_s
        else:
            high, above_s = middle, float(values[middle])
    return relaxed, max(bound, min(above_s, below_s)) if low == high else bound


def _alone_bounds(task: Task, group: str) -> list[tuple[float, int, Column]]:
    """The best placement of every route for a client with nobody else, by bound."""
    found = []
    for position, route in enumerate(task.routes):
        if route.group != group:
            continue
        if task.scenario.objective.minimise == PERIOD:
            choice = least_period(route.chain)
            value = route.micro_batches * choice.value_s
        elif task.trains:
            choice = least_training_bound(route.chain, route.micro_batches)
            value = route.steps * choice.value_s
        else:
            choice = burst_of_items(route.chain, route.micro_batches)
            value = choice.value_s
        found.append((value, position, column_of(route, choice.cuts)))
        if task.trains:
            found.append((value, position, column_of(route, burst_of_items(route.chain, route.micro_batches).cuts)))
    return sorted(found, key=lambda item: item[:2])


def _alike(task: Task, best_alone: dict[str, list[tuple[float, int, Column]]]) -> list[list[Column]]:
    """Return what is best alone at each number of micro-batches, for all clients of a group alike."""
    starts = []
    for number in task.scenario.training.micro_batches:
        first = {
            group: next((c for _, _, c in bounds if c.route.micro_batches == number), bounds[0][2])
            for group, bounds in best_alone.items()
        }
        starts.append([first[group] for group in task.groups])
    return starts


def _check_memory(task: Task, relaxed: Relaxed) -> None:
    if relaxed.overflow:
        node, share = max(relaxed.overflow.items(), key=lambda item: item[1])
        missing = share * task.memory_bytes[node]
        raise InfeasibleError(
            f"network.nodes: {node} lacks {format_bytes(missing)} for its part of all clients, wherever they are: "
            f"raise its memory_bytes ({format_bytes(task.memory_bytes[node])}), let clients hold more "
            "(memory_budget_bytes), or lower batch_size"
        )


def _whole(task: Task, relaxed: Relaxed, counts: dict[str, int]) -> list[Column]:
    """Return a placement of every client, from the weights of the linear programme."""
    loads = Loads(relaxed.columns, task.memory_bytes)
    chosen = improved(rounded(relaxed.weights, loads, counts), loads, task.deadline)
    if loads.value(chosen)[0] > 0:
        raise InfeasibleError(
            "network.nodes: no whole placement of all clients was found within memory_bytes of the nodes, though parts "
            "of clients would fit: raise memory_bytes a little"
        )
    return _dealt(task, relaxed.columns, chosen)


def _dealt(task: Task, columns: Sequence[Column], chosen: FloatArray) -> list[Column]:
    """Return a placement of every client, from how many take each."""
    pools: dict[str, list[Column]] = {}
    for column, number in zip(columns, chosen, strict=True):
        pools.setdefault(column.route.group, []).extend([column] * int(number))
    return [pools[group].pop() for group in task.groups]
