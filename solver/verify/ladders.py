"""Check the ladder of a planned client, in plain Python: what its levels must be, and what its costs follow from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hybridsplit.scenarios.contracts.plan import ClientPlan
from hybridsplit.scenarios.contracts.recompute import LADDER
from hybridsplit.scenarios.schema import Client

_TOLERANCE = 1e-9


def ladder_violations(planned: ClientPlan, client: Client, local_steps: int) -> Iterator[str]:
    """Yield what is wrong with a client's levels.

    Parameters
    ----------
    planned
        The client's part of the plan.
    client
        The client of the scenario.
    local_steps
        Steps of a round.
    """
    levels = planned.levels
    if (planned.recompute == LADDER) != bool(levels):
        yield f"{planned.id}: has {len(levels)} levels, and its recompute order is {planned.recompute!r}"
        return
    if not levels:
        return
    if client.memory is None:
        yield f"{planned.id}: has a ladder, and the scenario names no memory_trace for it"
    for above, below in itertools.pairwise(levels):
        if not (above.step_s <= below.step_s and above.peak_bytes > below.peak_bytes):
            yield f"{planned.id}: its levels do not go down in memory and up in seconds"
    for level in levels:
        if any(fall.peak_bytes >= level.peak_bytes or fall.step_s < 0 for fall in level.falls):
            yield f"{planned.id}: a fall of its levels takes as much memory as the level itself"
    if levels[-1].peak_bytes != planned.client_peak_bytes:
        yield (
            f"{planned.id}: client_peak_bytes is {planned.client_peak_bytes}, its leanest level takes "
            f"{levels[-1].peak_bytes}"
        )
    least_s = local_steps * levels[0].step_s
    if planned.client_compute_s < least_s * (1 - _TOLERANCE):
        yield f"{planned.id}: client_compute_s is {planned.client_compute_s:.9g}, its fastest level takes {least_s:.9g}"
