"""What a period leaves over: how much of a limit every device must take, and parts that are on no way of their app.

All apps together take at least some amount of a limit, wherever they run. What devices have beyond it is slack, and no
device can leave more of the limit than all of it: so each takes at least the rest. The programme over parts implies
that only as a sum over all devices, from which HiGHS draws no cuts; stated device by device, it finds choices and
refuses periods that it did not before. Each such limit is stated again by rounding up: sizes that sum to at least 1
sum to at least k by ``ceil(k x)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray, FloatArray, IntArray

ORDERS = (1, 2)
"""The roundings in use."""
_ROUNDING = 1e-9
_FAR = 1 << 20


@dataclass(frozen=True)
class LeastLoad:
    """What a device takes at least of a limit.

    Parameters
    ----------
    device
        Position of the device.
    parts
        [N] positions of the parts that count.
    counts
        [N] what each counts for.
    least
        What they count for together at least.
    """

    device: int
    parts: IntArray
    counts: FloatArray
    least: float


def on_a_way(starts: IntArray, ends: IntArray, last: int, most_parts: int) -> BoolArray:
    """Return which ranges of an app are in a row of so few ranges that leads from its first place to its last: [N].

    Parameters
    ----------
    starts, ends
        [N] places between layers.
    last
        The last place.
    most_parts
        Ranges in a row at most.
    """
    before, after = np.full(last + 1, _FAR), np.full(last + 1, _FAR)
    before[0] = after[last] = 0
    for _ in range(most_parts):
        np.minimum.at(before, ends, before[starts] + 1)
        np.minimum.at(after, starts, after[ends] + 1)
    return np.asarray(before[starts] + 1 + after[ends] <= most_parts)


def least_total(starts: IntArray, ends: IntArray, sizes: FloatArray, last: int, most_parts: int) -> float:
    """Return the least sum of sizes over a row of ranges from the first place to the last; infinite where none is.

    Parameters
    ----------
    starts, ends
        [N] places between layers.
    sizes
        [N] size of every range, at least 0.
    last
        The last place.
    most_parts
        Ranges in a row at most.
    """
    reached = np.full(last + 1, np.inf)
    reached[0] = 0.0
    best = np.inf
    for _ in range(most_parts):
        onward = np.full(last + 1, np.inf)
        np.minimum.at(onward, ends, reached[starts] + sizes)
        best, reached = min(best, float(onward[last])), onward
    return best


def least_loads(devices: IntArray, sizes: FloatArray, total: float, capacities: FloatArray) -> list[LeastLoad]:
    """Return what every device takes at least of a limit, where that is anything.

    Parameters
    ----------
    devices
        [N] device of every part.
    sizes
        [N] what every part takes of the limit, in the unit of the capacities.
    total
        What all apps take at least.
    capacities
        [D] what every device has.
    """
    found = []
    for device, capacity in enumerate(capacities):
        least = total - float(np.delete(capacities, device).sum())
        if least <= _ROUNDING * capacity:
            continue
        parts = np.flatnonzero((devices == device) & (sizes > 0))
        share = sizes[parts] / least
        found.append(LeastLoad(device, parts, share, 1.0))
        found += [LeastLoad(device, parts, np.ceil(k * share - _ROUNDING).clip(0, k), float(k)) for k in ORDERS]
    return found
