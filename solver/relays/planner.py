"""From costs to a verified plan: bound, placements, warm-up depths, and the round of all clients in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.errors import InfeasibleError, SolverFailure
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.solver.chain.least_bottleneck import burst_of_items, least_period
from hybridsplit.solver.chain.training_bound import least_training_bound
from hybridsplit.solver.chain.values import node_spans
from hybridsplit.solver.relays.columns import Column, alone_s, column_of
from hybridsplit.solver.relays.master import Master, Relaxed
from hybridsplit.solver.relays.rounding import Loads, improved, rounded
from hybridsplit.solver.relays.routes import Route, routes_of
from hybridsplit.solver.relays.walk import walk

Placed = list[tuple[Column, tuple[int, ...]]]
"""Placement and warm-up depths of every client, in order."""
PERIOD = "inference-period"
_FEW_CLIENTS = 24
_WALKS_AT_ONCE = 2_000


@dataclass
class Task:
    """What is planned.

    Parameters
    ----------
    scenario, costs
        The scenario, and what blocks cost.
    routes
        Routes of all groups.
    deadline
        Moment of the monotonic clock to end at.
    """

    scenario: RelayScenario
    costs: RelayCosts
    routes: tuple[Route, ...]
    deadline: float
    _alone: dict[tuple[object, ...], float] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether clients train."""
        return self.scenario.trains

    @property
    def groups(self) -> list[str]:
        """The group of every client, in order."""
        return [client.group for client in self.scenario.expanded_clients()]

    @property
    def memory_bytes(self) -> dict[str, float]:
        """Memory of the nodes where it is limited."""
        nodes = self.scenario.network.nodes
        return {one.node: float(one.memory_bytes) for one in nodes if one.memory_bytes is not None}

    def value_s(self, placed: Placed) -> float:
        """Return what the objective minimises."""
        if self.scenario.objective.minimise == PERIOD:
            counts: dict[str, float] = {}
            for column, _ in placed:
                for name, seconds in column.busy_s.items():
                    counts[name] = counts.get(name, 0.0) + seconds
            return max([*counts.values(), *(column.own_s for column, _ in placed)])
        return max(walk(placed, trains=self.trains))

    def alone_s(self, column: Column) -> float:
        """Return the seconds of a client with nobody else, or the period of a stream of its batches."""
        if column.key not in self._alone:
            if self.scenario.objective.minimise == PERIOD:
                self._alone[column.key] = max([column.own_s, *column.busy_s.values()])
            else:
                self._alone[column.key] = alone_s(column, trains=self.trains)[1]
        return self._alone[column.key]


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
    """

    placed: Placed
    value_s: float
    lower_bound_s: float
    num_columns: int


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
    master = Master(task.routes, counts, task.memory_bytes, counts_latency=latency)
    for bounds in best_alone.values():
        for _, _, column in bounds:
            master.add(column)
    relaxed = master.solve(begun + (deadline - begun) / 2)
    _check_memory(task, relaxed)
    bound = max(bound, relaxed.lower_bound_s)
    placed = _placed(task, relaxed, counts)
    value = task.value_s(placed)
    if len(placed) <= _FEW_CLIENTS:
        placed, value = _alike(task, placed, value, best_alone)
    if value > bound * (1 + scenario.search.gap) and len(placed) <= _FEW_CLIENTS:
        placed, value = _searched(task, placed, value, relaxed.columns, bound)
    if value < bound * (1 - 1e-9):
        raise SolverFailure(f"the placements take {value:.9g} s, below their bound of {bound:.9g} s: a fault of ours")
    return Planned(placed, value, min(bound, value), len(master.columns))


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


def _alike(
    task: Task, placed: Placed, value: float, best_alone: dict[str, list[tuple[float, int, Column]]]
) -> tuple[Placed, float]:
    """Try what is best alone at each number of micro-batches, for all clients of a group alike."""
    for number in task.scenario.training.micro_batches:
        first = {
            group: next((c for _, _, c in bounds if c.route.micro_batches == number), bounds[0][2])
            for group, bounds in best_alone.items()
        }
        columns = [first[group] for group in task.groups]
        if fits_memory(task, columns):
            candidate = with_depths(task, columns)
            reached = task.value_s(candidate)
            if reached < value:
                placed, value = candidate, reached
    return placed, value


def _check_memory(task: Task, relaxed: Relaxed) -> None:
    if relaxed.overflow:
        node, share = max(relaxed.overflow.items(), key=lambda item: item[1])
        missing = share * task.memory_bytes[node]
        raise InfeasibleError(
            f"network.nodes: {node} lacks {format_bytes(missing)} for its part of all clients, however they are placed: "
            f"raise its memory_bytes ({format_bytes(task.memory_bytes[node])}), let clients hold more "
            "(memory_budget_bytes), or lower batch_size"
        )


def _placed(task: Task, relaxed: Relaxed, counts: dict[str, int]) -> Placed:
    """Whole clients, and warm-up depths within the memory that is left."""
    loads = Loads(relaxed.columns, task.memory_bytes)
    chosen = improved(rounded(relaxed.weights, loads, counts), loads, task.deadline)
    if loads.value(chosen)[0] > 0:
        raise InfeasibleError(
            "network.nodes: no whole placement of all clients was found within memory_bytes of the nodes, though parts "
            "of clients would fit: raise memory_bytes a little"
        )
    pools: dict[str, list[Column]] = {}
    for position, number in enumerate(chosen):
        column = relaxed.columns[position]
        pools.setdefault(column.route.group, []).extend([column] * int(number))
    return with_depths(task, [pools[group].pop() for group in task.groups])


def with_depths(task: Task, columns: Sequence[Column]) -> Placed:
    """Give every client its best warm-up depths within the memory that those before it leave.

    Parameters
    ----------
    task, columns
        What is planned, and a placement of every client.
    """
    room = dict(task.memory_bytes)
    for column in columns:
        for node, size in column.memory_bytes.items():
            if node in room:
                room[node] -= size
    known: dict[tuple[object, ...], tuple[int, ...]] = {}
    placed: Placed = []
    for column in columns:
        near = tuple(sorted((node, room[node]) for node in column.memory_bytes if node in room))
        key = (column.key, near)
        if key not in known:
            known[key] = alone_s(column, trains=task.trains, room_bytes=dict(near))[0]
        depths = known[key]
        used = [k for k, (a, c) in enumerate(column.spans) if k == 0 or a < c]
        for k, depth in zip(used, depths, strict=True):
            a, c = column.spans[k]
            node = column.route.nodes[k - 1] if k else ""
            if node in room and a < c:
                room[node] -= (depth - 1) * float(column.route.held_bytes[k, a, c])
        placed.append((column, depths))
    return placed


def _searched(
    task: Task, placed: Placed, value: float, pool: Sequence[Column], bound: float
) -> tuple[Placed, float]:
    """Change the placement of one client at a time, or of a whole group, as long as the round gets shorter."""
    by_group: dict[str, dict[tuple[object, ...], Column]] = {}
    for column in pool:
        by_group.setdefault(column.route.group, {})[column.key] = column
    enough = bound * (1 + task.scenario.search.gap)
    columns = [column for column, _ in placed]
    seen: set[tuple[object, ...]] = set()

    def tried(changed: list[Column]) -> bool:
        nonlocal columns, placed, value
        key = tuple(column.key for column in changed)
        if key in seen or not fits_memory(task, changed):
            return False
        seen.add(key)
        candidate = with_depths(task, changed)
        reached = task.value_s(candidate)
        if reached < value * (1 - 1e-9):
            columns, placed, value = changed, candidate, reached
            return True
        return False

    improving = True
    while improving and value > enough and time.monotonic() < task.deadline and len(seen) < _WALKS_AT_ONCE:
        improving = False
        for index, group in enumerate(task.groups):
            options = {**by_group[group], **{c.key: c for c in _neighbours(task, columns[index])}}
            ordered = sorted(options.values(), key=task.alone_s)
            for column in ordered:
                alike = [column if other == columns[index] else other for other in columns]
                single = [column if i == index else other for i, other in enumerate(columns)]
                for changed in (alike, single):
                    improving = tried(changed) or improving
                if value <= enough or time.monotonic() > task.deadline:
                    return placed, value
    return placed, value


def _neighbours(task: Task, column: Column) -> list[Column]:
    """The same cuts at other numbers of micro-batches, and placements that move one cut by one or two blocks."""
    chain = column.route.chain
    others = [r for r in task.routes if (r.group, r.nodes) == (column.route.group, column.route.nodes)]
    found = [column_of(route, column.cuts) for route in others if _is_possible(route, column.cuts)]
    for k in range(len(column.cuts)):
        for change in (-2, -1, 1, 2):
            cuts = list(column.cuts)
            cuts[k] += change
            for j in range(k + 1, len(cuts)):
                cuts[j] = max(cuts[j], cuts[k])
            for j in range(k):
                cuts[j] = min(cuts[j], cuts[k])
            if 0 <= min(cuts) and max(cuts) <= chain.num_blocks and _is_possible(column.route, tuple(cuts)):
                found.append(column_of(column.route, tuple(cuts)))
    return found


def _is_possible(route: Route, cuts: tuple[int, ...]) -> bool:
    chain = route.chain
    spans = node_spans(cuts, chain.num_blocks)
    parts = sum(a < c for a, c in spans)
    return parts <= chain.most_parts and all(np.isfinite(chain.node_s[j, a, c]) for j, (a, c) in enumerate(spans))


def fits_memory(task: Task, columns: Sequence[Column]) -> bool:
    """Return whether placements of all clients are within the memory of nodes, one micro-batch in flight each.

    Parameters
    ----------
    task, columns
        What is planned, and a placement of every client.
    """
    room = dict(task.memory_bytes)
    for column in columns:
        for node, size in column.memory_bytes.items():
            if node in room:
                room[node] -= size
    return all(left >= 0 for left in room.values())

