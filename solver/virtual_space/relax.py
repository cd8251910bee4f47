"""The cheapest change that makes a plan possible, found by trying one after another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from hybridsplit.scenarios.contracts.virtual_space import VirtualSpace
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.solver.virtual_space.pool import Clock
from hybridsplit.solver.virtual_space.search import Search

_TRY_S = 4.0
_ALL_S = 20.0
_ASSUMED_FLASH_BYTES_PER_S = 20e6
"""Any rate will do to see whether loading weights makes a plan possible."""


def cheapest_relaxation(space: VirtualSpace, most_period_s: float | None) -> str:
    """Return in words the first change that makes a plan possible, and an empty text where none was found in time.

    Changes are tried in this order: loading weights for every frame, one cut more, one to three devices more like one
    of those there are, leaving out the app with the fewest weights that is enough.

    Parameters
    ----------
    space
        The space.
    most_period_s
        Longest period, where joules are minimised.
    """
    end = time.monotonic() + _ALL_S
    for words, changed in _changes(space):
        if time.monotonic() > end:
            break
        if Search(changed, 1.0, Clock(time.monotonic() + _TRY_S), most_period_s).run() is not None:
            return f". Cheapest relaxation that makes a plan possible: {words}"
    return ""


def _changes(space: VirtualSpace) -> Iterator[tuple[str, VirtualSpace]]:
    if all(one.reload_bytes_per_s is None for one in space.devices):
        loading = tuple(replace(one, reload_bytes_per_s=_ASSUMED_FLASH_BYTES_PER_S) for one in space.devices)
        yield (
            "state reload_bytes_per_s of the accelerators, so that weights may be loaded for every frame",
            replace(space, devices=loading),
        )
    yield f"search.most_cuts of {space.most_cuts + 1}", replace(space, most_cuts=space.most_cuts + 1)
    largest = max(space.devices, key=lambda one: one.kernel_bytes)
    for number in (1, 2, 3):
        more = tuple(replace(largest, id=f"{largest.id}-more-{index}") for index in range(number))
        yield (
            f"{number} {largest.kind} more, with {format_bytes(largest.kernel_bytes)} of kernel memory a processor",
            replace(space, devices=(*space.devices, *more)),
        )
    for app in sorted(space.apps, key=lambda one: int(one.weight_bytes.sum())):
        others = tuple(one for one in space.apps if one is not app)
        if any(one.rate_hz is None for one in others):
            size = format_bytes(float(app.weight_bytes.sum()))
            yield f"leave out {app.id}, whose {app.model} has {size} of weights", replace(space, apps=others)
