"""Whole clients by an integer programme over listed placements, and the bound that it proves where all are listed.

The rows are those of :mod:`hybridsplit.solver.relays.master`, with what a client takes alone by its own bound instead
of a batch's seconds: any placement of all clients keeps them, whatever the order of service.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, hstack, vstack

from hybridsplit.solver.chain.values import FloatArray
from hybridsplit.solver.relays.columns import Column, alone_bound_s, column_of
from hybridsplit.solver.relays.routes import Route, is_possible
from hybridsplit.solver.relays.task import PERIOD, Task

_MOST_LISTED = 6_000
_CLOSE_ENOUGH = 1e-4


def listed(routes: Sequence[Route]) -> list[Column] | None:
    """Return every placement of every group; None where there are too many.

    Parameters
    ----------
    routes
        Routes of all groups.
    """
    numbers = [math.comb(r.chain.num_blocks + r.chain.num_nodes - 1, r.chain.num_nodes - 1) for r in routes]
    if sum(numbers) > _MOST_LISTED:
        return None
    found = []
    for route in routes:
        blocks, nodes = route.chain.num_blocks, route.chain.num_nodes
        every = itertools.combinations_with_replacement(range(blocks + 1), nodes - 1)
        found += [column_of(route, cuts) for cuts in every if is_possible(route, cuts)]
    return found


def whole_choice(
    task: Task, columns: Sequence[Column], counts: dict[str, int], below_s: float, time_limit_s: float
) -> tuple[list[Column], FloatArray, float]:
    """Return the columns that may be in a better plan, how many clients take each, and a bound on all of them.

    Parameters
    ----------
    task
        What is planned.
    columns
        Placements to choose from.
    counts
        Clients of every group.
    below_s
        A value that is known already: placements that take as long alone are left out.
    time_limit_s
        Seconds after which the best found is taken.

    Returns
    -------
    list of Column, [N] array, float
        No columns where nothing better was found; the bound holds for all plans of the columns, and is at most
        ``below_s``.
    """
    alone = [
        max([c.own_s, *c.busy_s.values()])
        if task.scenario.objective.minimise == PERIOD
        else alone_bound_s(c, trains=task.trains)
        for c in columns
    ]
    kept = [index for index, seconds in enumerate(alone) if seconds < below_s]
    chosen = [columns[index] for index in kept]
    if {column.route.group for column in chosen} != set(counts):
        return [], np.zeros(0), below_s
    at_most, equal = _rows(task, chosen, [alone[index] for index in kept], counts)
    size = len(chosen)
    cost = np.zeros(size + 1)
    cost[-1] = 1.0
    most = [*(counts[column.route.group] for column in chosen), np.inf]
    done = milp(
        cost, integrality=np.array([1] * size + [0]), bounds=Bounds(0, most),
        constraints=[at_most, equal], options={"time_limit": max(0.1, time_limit_s), "mip_rel_gap": _CLOSE_ENOUGH},
    )  # fmt: skip
    bound = getattr(done, "mip_dual_bound", None)
    if done.status == 2:  # no plan of these is below
        return [], np.zeros(0), below_s
    proven = min(below_s, float(bound)) if bound is not None and np.isfinite(bound) else 0.0
    if done.x is None:
        return [], np.zeros(0), proven
    return chosen, np.round(done.x[:size]), proven


def _rows(
    task: Task, columns: Sequence[Column], alone: Sequence[float], counts: dict[str, int]
) -> tuple[LinearConstraint, LinearConstraint]:
    names = sorted({name for column in columns for name in column.busy_s})
    loads = np.array([[column.busy_s.get(name, 0.0) for column in columns] for name in names]).reshape(-1, len(columns))
    groups = list(counts)
    own = np.array(
        [[s if c.route.group == g else 0.0 for c, s in zip(columns, alone, strict=True)] for g in groups]
    )  # fmt: skip
    nodes = list(task.memory_bytes)
    memory = np.array(
        [[c.memory_bytes.get(node, 0.0) / task.memory_bytes[node] for c in columns] for node in nodes]
    ).reshape(-1, len(columns))
    last = np.concatenate([-np.ones(len(names)), [-float(counts[g]) for g in groups], np.zeros(len(nodes))])
    table = hstack([vstack([csr_matrix(part) for part in (loads, own, memory)]), csr_matrix(last[:, None])])
    limits = np.concatenate([np.zeros(len(names) + len(groups)), np.ones(len(nodes))])
    members = np.array([[*(float(c.route.group == g) for c in columns), 0.0] for g in groups])
    wanted = np.array([float(counts[g]) for g in groups])
    return LinearConstraint(table.tocsr(), -np.inf, limits), LinearConstraint(csr_matrix(members), wanted, wanted)
