"""How many frames may be under way: those that wait lie in data memory beside what runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.solver.virtual_space.columns import Column

MOST_FRAMES = 64
"""Frames of an app under way at once, where memory would hold more."""


def frames_in_flight(space: VirtualSpace, columns: Sequence[Column]) -> int:
    """Return how many periods' frames may be under way at once, at least 1.

    On every device lie, in each instance of data memory, what the largest part needs while it runs, and for every
    period but one what the larger of input and output of each part takes, as often as the app has frames in a period.

    Parameters
    ----------
    space
        The space.
    columns
        One plan of every app.
    """
    largest = np.zeros(len(space.devices), dtype=np.int64)
    waiting = np.zeros(len(space.devices), dtype=np.int64)
    for column in columns:
        app = space.apps[column.app]
        for part in column.parts:
            costs = app.by_kind[space.devices[part.device].kind]
            running = int(costs.data_bytes[part.start : part.end].max())
            largest[part.device] = max(largest[part.device], running)
            ends = max(int(costs.waiting_bytes[part.start]), int(costs.waiting_bytes[part.end]))
            waiting[part.device] += ends * (app.frames if app.rate_hz is None else 1)
    room = np.array([one.data_bytes for one in space.devices]) - largest
    more = [int(room[d] // waiting[d]) for d in range(len(space.devices)) if waiting[d] > 0]
    return max(1, min(MOST_FRAMES, 1 + min(more, default=0)))
