"""Shorter rounds of a few clients by changing one placement at a time, from several starts.

Placements are compared over a few steps of the round, the exchange cut in proportion, and the best of every descent by
the whole round. Starts and kicks come from a stream of the scenario's seed, and the number of comparisons ends the
search, so that it repeats; time is only the second limit.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.relays.columns import Column, alone_bound_s, column_of
from hybridsplit.solver.relays.routes import Route, is_possible
from hybridsplit.solver.relays.task import Placed, Task, fits_memory, with_depths

_STEPS_COMPARED = 2
_KICKS = 16
_MOST_COMPARED = 4_000
_MOST_LISTED = 3_000
_POOL_A_ROUTE = 30


class Search:
    """Descents from several starts.

    Parameters
    ----------
    task
        What is planned.
    pool
        Placements of all groups to choose from.
    enough_s
        A value at which the search ends.
    """

    def __init__(self, task: Task, pool: Sequence[Column], enough_s: float) -> None:
        self._task, self._enough_s = task, enough_s
        self._pool: dict[str, dict[tuple[object, ...], Column]] = {}
        for column in (*pool, *(column for route in task.routes for column in _good_alone(task, route))):
            self._pool.setdefault(column.route.group, {})[column.key] = column
        self._seen: dict[tuple[object, ...], float] = {}
        self._best_s = float("inf")
        self._short: dict[tuple[str, tuple[str, ...], int], Route] = {}
        self._random = np.random.default_rng(stream_seed(task.scenario.seed, "relays", "kicks"))

    def best_of(self, starts: Sequence[Sequence[Column]]) -> tuple[Placed, float]:
        """Return the best placements reached from any start, and the seconds of their round.

        Parameters
        ----------
        starts
            A placement of every client, each; one of them within memory.
        """
        best = list(next(start for start in starts if fits_memory(self._task, start)))
        placed = with_depths(self._task, best)
        value = self._best_s = self._task.value_s(placed)
        tried = [list(start) for start in starts if fits_memory(self._task, start)]
        for turn in range(len(tried) + _KICKS):
            if value <= self._enough_s or self._is_over():
                break
            start = tried[turn] if turn < len(tried) else self._kicked(best)
            end = self._descend(start)
            candidate = with_depths(self._task, end)
            reached = self._task.value_s(candidate)
            if reached < value:
                best, placed, value = end, candidate, reached
                self._best_s = value
        return placed, value

    def _is_over(self) -> bool:
        return len(self._seen) >= _MOST_COMPARED or time.monotonic() > self._task.deadline

    def _kicked(self, columns: list[Column]) -> list[Column]:
        """Change one or two clients at random."""
        changed = list(columns)
        for _ in range(1 + int(self._random.integers(2))):
            index = int(self._random.integers(len(columns)))
            options = list(self._pool[columns[index].route.group].values())
            changed[index] = options[int(self._random.integers(len(options)))]
        return changed if fits_memory(self._task, changed) else columns

    def _descend(self, columns: list[Column]) -> list[Column]:
        value, improving = self._compared(columns), True
        while improving and not self._is_over():
            improving = False
            for index in range(len(columns)):
                options = {**self._pool[columns[index].route.group], **_neighbours(self._task, columns[index])}
                worth = [(self._task.alone_s(one), n) for n, one in enumerate(options.values())]
                listed = list(options.values())
                for alone_s, number in sorted(worth):
                    if alone_s >= self._best_s:
                        break  # beside others it takes no less
                    column = listed[number]
                    alike = [column if other == columns[index] else other for other in columns]
                    single = [column if i == index else other for i, other in enumerate(columns)]
                    for changed in (alike, single):
                        reached = self._compared(changed)
                        if reached < value * (1 - 1e-9):
                            columns, value, improving = changed, reached, True
                    if self._is_over():
                        return columns
        return columns

    def _compared(self, columns: list[Column]) -> float:
        """Return the seconds of a few steps; infinite where memory is too small."""
        key = tuple(column.key for column in columns)
        if key not in self._seen:
            fits = fits_memory(self._task, columns)
            self._seen[key] = self._task.value_s(self._shortened(columns)) if fits else np.inf
        return self._seen[key]

    def _shortened(self, columns: list[Column]) -> Placed:
        placed = with_depths(self._task, columns)
        return [(replace(column, route=self._short_route(column.route)), depths) for column, depths in placed]

    def _short_route(self, route: Route) -> Route:
        key = route.group, route.nodes, route.micro_batches
        if key not in self._short:
            steps = min(route.steps, _STEPS_COMPARED)
            share = steps / route.steps
            self._short[key] = replace(
                route, steps=steps, exchange_s=route.exchange_s * share, exchange_delay_s=route.exchange_delay_s * share
            )
        return self._short[key]


def _good_alone(task: Task, route: Route) -> list[Column]:
    """The placements of a route with the least bounds for a client with nobody else; none where there are too many."""
    chain = route.chain
    if math.comb(chain.num_blocks + chain.num_nodes - 1, chain.num_nodes - 1) > _MOST_LISTED:
        return []
    every = itertools.combinations_with_replacement(range(chain.num_blocks + 1), chain.num_nodes - 1)
    columns = [column_of(route, cuts) for cuts in every if is_possible(route, cuts)]
    return sorted(columns, key=lambda column: alone_bound_s(column, trains=task.trains))[:_POOL_A_ROUTE]


def _neighbours(task: Task, column: Column) -> dict[tuple[object, ...], Column]:
    """The same cuts at other numbers of micro-batches, and placements that move one cut by one or two blocks."""
    others = [r for r in task.routes if (r.group, r.nodes) == (column.route.group, column.route.nodes)]
    found = [column_of(route, column.cuts) for route in others if is_possible(route, column.cuts)]
    for k in range(len(column.cuts)):
        for change in (-2, -1, 1, 2):
            cuts = list(column.cuts)
            cuts[k] += change
            cuts[k + 1 :] = [max(cut, cuts[k]) for cut in cuts[k + 1 :]]
            cuts[:k] = [min(cut, cuts[k]) for cut in cuts[:k]]
            if min(cuts) >= 0 and max(cuts) <= column.route.chain.num_blocks and is_possible(column.route, tuple(cuts)):
                found.append(column_of(column.route, tuple(cuts)))
    return {one.key: one for one in found}
