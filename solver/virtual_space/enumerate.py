"""All plans of an app, without those that another plan of it dominates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import Column, Part, make_column, refusal


def num_plans(space: VirtualSpace, app_index: int) -> int:
    """Return how many plans an app has at most: cuts, devices that change between parts, and loading or not.

    Parameters
    ----------
    space
        The space.
    app_index
        Position of the app.
    """
    from math import comb

    num_layers, devices = space.apps[app_index].num_layers, len(space.devices)
    ways = 1 if all(one.reload_bytes_per_s is None for one in space.devices) else 2
    return sum(
        comb(num_layers - 1, cuts) * devices * (devices - 1) ** cuts * ways ** (cuts + 1)
        for cuts in range(min(space.most_cuts, num_layers - 1) + 1)
    )


def all_parts(space: VirtualSpace, app_index: int) -> Iterator[tuple[Part, ...]]:
    """Yield the parts of every plan that can run by itself.

    Parameters
    ----------
    space
        The space.
    app_index
        Position of the app.
    """
    app = space.apps[app_index]
    possible: dict[tuple[int, int], list[Part]] = {}

    def parts_of(device: int, start: int) -> list[Part]:
        if (device, start) not in possible:
            candidates = [
                Part(device, start, end, reloads)
                for end in range(start + 1, app.num_layers + 1)
                for reloads in (False, True)
            ]
            possible[device, start] = [part for part in candidates if refusal(space, app, part) is None]
        return possible[device, start]

    def begun(before: tuple[Part, ...], start: int) -> Iterator[tuple[Part, ...]]:
        for device in range(len(space.devices)):
            if before and before[-1].device == device:
                continue
            for part in parts_of(device, start):
                if part.end == app.num_layers:
                    yield (*before, part)
                elif len(before) < space.most_cuts:
                    yield from begun((*before, part), part.end)

    yield from begun((), 0)


def undominated(columns: list[Column]) -> list[Column]:
    """Return the plans of one app that no other dominates; of equal ones, the first.

    Parameters
    ----------
    columns
        Plans of one app.
    """
    ordered = sorted(columns, key=lambda one: one.total_s + float(one.held.sum()) + float(one.loading_bytes.sum()))
    kept: list[Column] = []
    loads = np.empty((0, 0))
    for column in ordered:
        load = _load(column)
        if kept and bool((loads[: len(kept)] <= load).all(axis=1).any()):
            continue
        if len(kept) >= len(loads):
            grown = np.full((max(64, 2 * len(loads)), len(load)), np.inf)
            if kept:
                grown[: len(kept)] = loads[: len(kept)]
            loads = grown
        loads[len(kept)] = load
        kept.append(column)
    return kept


def _load(column: Column) -> FloatArray:
    """Return all that a plan takes, [8 D]."""
    return np.concatenate([column.busy_s.ravel(), column.held.ravel(), column.loading_bytes])


def enumerated(space: VirtualSpace, app_index: int) -> list[Column]:
    """Return all plans of an app but dominated ones.

    Parameters
    ----------
    space
        The space.
    app_index
        Position of the app.
    """
    return undominated([make_column(space, app_index, parts) for parts in all_parts(space, app_index)])
