"""The placements of all clients at once by column generation, with a lower bound for any of them.

Every shared machine and link has seconds of work in a round, which no schedule packs into less than their sum; so does
what a client does by itself. The linear programme over the columns known so far

    minimise T   over x >= 0
    sum of busy seconds of a shared resource  <= T
    mean over a group of what its clients own <= T   (their device and links; a batch alone, for latencies)
    sum of memory at a node                   <= its memory
    sum of a group's x                        =  its clients

prices resources by its duals. The best column at these prices is a least sum over the chain of a route, weighted
(:mod:`hybridsplit.solver.chain.least_sum`); it is added until none improves. At any prices of the right sign, groups'
best columns give a lower bound on T: the best of these is kept, and no bound is read off an unfinished programme.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.solver.chain.least_sum import least_sum
from hybridsplit.solver.chain.values import Chain, FloatArray, total_seconds
from hybridsplit.solver.relays.columns import Column, column_of
from hybridsplit.solver.relays.routes import DOWN, UP, Route

_TOLERANCE = 1e-4
_MOST_TURNS = 400
_OVERFLOW = 1e3


@dataclass(frozen=True)
class Relaxed:
    """The solution of the linear programme.

    Parameters
    ----------
    columns
        All columns that were generated.
    weights
        [N] how many clients of its group take each, not whole.
    lower_bound_s
        No choice of placements is below it.
    overflow
        Shares of memory that are missing, by node; empty where all fit.
    """

    columns: tuple[Column, ...]
    weights: FloatArray
    lower_bound_s: float
    overflow: dict[str, float]


class Master:
    """The linear programme, and the pricing of columns.

    Parameters
    ----------
    routes
        Routes of all groups.
    counts
        Clients of every group.
    memory_bytes
        Memory of the nodes where it is limited.
    counts_latency
        Whether what a batch takes alone counts, as it does for latencies.
    """

    def __init__(
        self, routes: Sequence[Route], counts: dict[str, int], memory_bytes: dict[str, float], *, counts_latency: bool
    ) -> None:
        self._routes, self._counts, self._memory = routes, counts, memory_bytes
        self._counts_latency = counts_latency
        shared = [name for r in routes for name in (*r.node_resources, *r.up_resources, *r.down_resources) if name]
        self._shared = list(dict.fromkeys(shared))
        own: dict[tuple[str, str], None] = {}
        for route in routes:
            own |= dict.fromkeys((route.group, name) for name in _own_names(route, latency=counts_latency))
        self._own = list(own)
        self._groups = list(counts)
        self._nodes = list(memory_bytes)
        self.columns: dict[tuple[object, ...], Column] = {}
        self._loads: list[dict[object, float]] = []

    def add(self, column: Column) -> bool:
        """Add a column; return whether it is new."""
        if column.key in self.columns:
            return False
        self.columns[column.key] = column
        loads: dict[object, float] = {}
        loads.update(column.busy_s)
        loads.update({("memory", n): v / self._memory[n] for n, v in column.memory_bytes.items() if n in self._memory})
        group = column.route.group
        loads.update({(group, name): s for name, s in _own_seconds(column, self._counts_latency).items()})
        self._loads.append(loads)
        return True

    def solve(self, deadline: float) -> Relaxed:
        """Generate columns until none improves, or until a moment of the monotonic clock."""
        for route in self._routes:
            self.add(column_of(route, least_sum(route.chain).cuts))
            self.add(column_of(route, least_sum(_memory_chain(route)).cuts))
        bound, weights = 0.0, np.zeros(0)
        overflow: dict[str, float] = {}
        for _ in range(_MOST_TURNS):
            value, weights, overflow, prices = self._relaxation()
            found = [self._cheapest(group, prices) for group in self._groups]
            reached = sum(self._counts[group] * least for group, (least, _) in zip(self._groups, found, strict=True))
            bound = max(bound, reached - sum(prices.get(("memory", node), 0.0) for node in self._nodes))
            new = [self.add(column) for _, column in found]
            if not any(new) or value - bound <= _TOLERANCE * value or time.monotonic() > deadline:
                break
        columns = tuple(self.columns.values())
        # Those that were added last were not worth a weight.
        weights = np.concatenate([weights, np.zeros(len(columns) - len(weights))])
        return Relaxed(columns, weights, bound, overflow)

    def _relaxation(self) -> tuple[float, FloatArray, dict[str, float], dict[object, float]]:
        columns = list(self.columns.values())
        keys: list[object] = [*self._shared, *self._own, *(("memory", node) for node in self._nodes)]
        row = {key: position for position, key in enumerate(keys)}
        entries = [(row[key], j, load) for j, loads in enumerate(self._loads) for key, load in loads.items()]
        count, spare = len(columns), len(columns) + 1
        entries += [(row[key], count, -1.0) for key in self._shared]
        entries += [(row[group, name], count, -float(self._counts[group])) for group, name in self._own]
        entries += [(row["memory", node], spare + offset, -1.0) for offset, node in enumerate(self._nodes)]
        rows, places, values = zip(*entries, strict=True)
        width = spare + len(self._nodes)
        at_most = np.concatenate([np.zeros(len(self._shared) + len(self._own)), np.ones(len(self._nodes))])
        group_row = {group: position for position, group in enumerate(self._groups)}
        equal = coo_matrix(
            (np.ones(count), ([group_row[c.route.group] for c in columns], range(count))), (len(self._groups), width)
        )
        cost = np.zeros(width)
        cost[count] = 1.0
        scale = max(max(loads.values(), default=1.0) for loads in self._loads) * sum(self._counts.values())
        cost[spare:] = _OVERFLOW * scale
        done = linprog(
            cost, A_ub=coo_matrix((values, (rows, places)), (len(keys), width)).tocsr(), b_ub=at_most,
            A_eq=equal.tocsr(), b_eq=[self._counts[group] for group in self._groups], method="highs",
        )  # fmt: skip
        if done.status != 0:
            raise SolverFailure(f"the linear programme over placements stopped: {done.message}")
        duals = np.maximum(-done.ineqlin.marginals, 0.0)
        times = len(self._shared) + len(self._own)
        shares = np.array([1.0] * len(self._shared) + [float(self._counts[group]) for group, _ in self._own])
        total = float((duals[:times] * shares).sum())
        prices = dict(zip(keys, duals / total if total > 0 else duals, strict=True))
        missing = {n: float(done.x[spare + i]) for i, n in enumerate(self._nodes) if done.x[spare + i] > 1e-9}
        return float(done.x[count]), done.x[:count], missing, prices

    def _cheapest(self, group: str, prices: dict[object, float]) -> tuple[float, Column]:
        """The column of a group that takes least at prices, and what it takes."""
        best: tuple[float, Route, tuple[int, ...]] | None = None
        for route in self._routes:
            if route.group == group:
                choice = least_sum(self._priced(route, prices))
                if best is None or choice.value_s < best[0]:
                    best = (choice.value_s, route, choice.cuts)
        assert best is not None, "every group has a route with a placement"
        return best[0], column_of(best[1], best[2])

    def _priced(self, route: Route, prices: dict[object, float]) -> Chain:
        chain = route.chain
        possible = np.isfinite(chain.node_s)
        alone = route.steps * prices.get((route.group, "alone"), 0.0)
        node = np.zeros_like(chain.node_s)
        for k, name in enumerate(route.node_resources):
            price = prices.get(name or (route.group, "device"), 0.0)
            at = possible[k]
            both_s = chain.node_s[k][at] + chain.node_delay_s[k][at]
            node[k][at] = price * route.node_round_s[k][at] + alone * both_s
            if k and name in self._memory:
                node[k] += prices.get(("memory", name), 0.0) / self._memory[name] * route.memory_bytes[k]
        node[~possible] = np.inf
        size = len(route.up_resources)
        up = np.array([prices.get(_key(route, k, UP), 0.0) for k in range(size)])[:, None] * route.up_round_s
        down = np.array([prices.get(_key(route, k, DOWN), 0.0) for k in range(size)])[:, None] * route.down_round_s
        delay = alone * (chain.up_s + chain.down_s + chain.delay_s + chain.once_s)
        return Chain(node, up, down, delay, np.zeros_like(up), np.zeros_like(node), chain.most_parts)


def _key(route: Route, k: int, direction: str) -> object:
    name = (route.up_resources if direction == UP else route.down_resources)[k]
    return name or (route.group, f"{route.nodes[k]} {direction}")


def _own_names(route: Route, *, latency: bool) -> list[str]:
    links = [f"{route.nodes[k]} {d}" for k, name in enumerate(route.up_resources) if not name for d in (UP, DOWN)]
    return ["device", *links, *(["alone"] if latency else [])]


def _own_seconds(column: Column, latency: bool) -> dict[str, float]:
    """Seconds of what is a client's own, and of a batch alone."""
    route = column.route
    (a, c), *_ = column.spans
    seconds = {"device": float(route.node_round_s[0, a, c])}
    for k, cut in enumerate(column.cuts):
        if not route.up_resources[k]:
            seconds[f"{route.nodes[k]} {UP}"] = float(route.up_round_s[k, cut])
            seconds[f"{route.nodes[k]} {DOWN}"] = float(route.down_round_s[k, cut])
    if latency:
        seconds["alone"] = route.steps * total_seconds(route.chain, column.cuts)
    return seconds


def _memory_chain(route: Route) -> Chain:
    """The chain whose least sum is the placement with the least memory at nodes."""
    possible = np.isfinite(route.chain.node_s)
    node = np.where(possible, route.memory_bytes, np.inf)
    node[0] = np.where(possible[0], 0.0, np.inf)
    zero = np.zeros_like(route.chain.up_s)
    return Chain(node, zero, zero, zero, zero, np.zeros_like(node), route.chain.most_parts)
