"""Whole clients from the weights of the linear programme, and moves of single clients that shorten the longest work."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from hybridsplit.solver.chain.values import FloatArray
from hybridsplit.solver.relays.columns import Column


class Loads:
    """Columns as rows of a matrix of loads relative to what there is.

    Parameters
    ----------
    columns
        Columns to choose from.
    memory_bytes
        Memory of the nodes where it is limited.
    """

    def __init__(self, columns: Sequence[Column], memory_bytes: dict[str, float]) -> None:
        names = sorted({name for column in columns for name in column.busy_s})
        nodes = list(memory_bytes)
        self.busy_s = np.array([[column.busy_s.get(name, 0.0) for name in names] for column in columns])
        self.memory = np.array(
            [[column.memory_bytes.get(node, 0.0) / memory_bytes[node] for node in nodes] for column in columns]
        ).reshape(len(columns), len(nodes))
        self.own_s = np.array([column.own_s for column in columns])
        self.groups: dict[str, list[int]] = {}
        for position, column in enumerate(columns):
            self.groups.setdefault(column.route.group, []).append(position)

    def value(self, counts: FloatArray) -> tuple[float, float, float]:
        """Return missing memory, the longest work of any resource, and the work of all: smaller is better."""
        missing = float(np.maximum(counts @ self.memory - 1.0, 0.0).sum()) if self.memory.size else 0.0
        busy = counts @ self.busy_s
        longest = max(float(busy.max(initial=0.0)), float(self.own_s[counts > 0].max(initial=0.0)))
        return missing if missing > 1e-9 else 0.0, longest, float(busy.sum())


def rounded(weights: FloatArray, loads: Loads, counts: dict[str, int]) -> FloatArray:
    """Return whole numbers of clients a column: each group's largest remainders are rounded up.

    Parameters
    ----------
    weights
        [N] weights of the columns.
    loads
        Columns and groups.
    counts
        Clients of every group.
    """
    whole = np.zeros(len(weights))
    for group, places in loads.groups.items():
        of_group = weights[places]
        floor = np.floor(of_group + 1e-9)
        left = counts[group] - int(floor.sum())
        order = np.argsort(floor - of_group, kind="stable")
        floor[order[:left]] += 1
        whole[places] = floor
    return whole


def improved(counts: FloatArray, loads: Loads, deadline: float) -> FloatArray:
    """Move one client at a time to another column of its group, as long as it helps.

    Parameters
    ----------
    counts
        [N] clients a column.
    loads
        Columns and groups.
    deadline
        Moment of the monotonic clock to end at.
    """
    best = loads.value(counts)
    improving = True
    while improving and time.monotonic() < deadline:
        improving = False
        for places in loads.groups.values():
            for old in [place for place in places if counts[place] > 0]:
                for new in places:
                    if new == old or counts[old] == 0:
                        continue
                    counts[old] -= 1
                    counts[new] += 1
                    value = loads.value(counts)
                    if value[0] < best[0] or (value[0] == best[0] and value[1] < best[1] * (1 - 1e-9)):
                        best, improving = value, True
                    else:
                        counts[old] += 1
                        counts[new] -= 1
            if time.monotonic() > deadline:
                break
    return counts
