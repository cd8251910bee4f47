"""Cheapest paths over places between layers and devices: the plans of an app at given prices of ranges and hops.

A plan is a path that begins at the source, takes one range of layers after another, changes the device between them
and ends at the target; its price is the sum over its ranges and hops. With K parts at most, L layers and D devices the
path is found in O(K (L D^2 + L^2 D)), and never lists plans, of which there are about (L D)^(K-1) D.
"""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, IntArray
from hybridsplit.solver.virtual_space.columns import Part

Plans = list[tuple[float, tuple[Part, ...]]]
"""Prices and parts of plans, the cheapest first."""


def cheapest_paths(
    stays: FloatArray, loads: FloatArray, hop: FloatArray, ends: tuple[int, int], most_parts: int, most: int
) -> Plans:
    """Return the cheapest plans, one for each last device and number of parts, the cheapest first.

    Parameters
    ----------
    stays, loads
        [D, L + 1, L + 1] price of every range whose weights stay, and whose weights are loaded for every frame;
        infinite where it cannot be.
    hop
        [L + 1, D, D] price of sending what crosses a place.
    ends
        Devices where frames are taken and results needed.
    most_parts
        Parts of a plan at most.
    most
        How many plans to return at most.

    Returns
    -------
    list of tuple
        Price and parts; none where no plan exists. The first is the cheapest of all.
    """
    source, target = ends
    part, reloads = np.minimum(stays, loads), loads < stays
    num_devices, num_layers = part.shape[0], part.shape[1] - 1
    # Price of standing before a place on a device, with what crosses it there.
    at = np.full((num_layers + 1, num_devices), np.inf)
    at[0] = hop[0, source]
    steps: list[tuple[IntArray, IntArray]] = []
    found: list[tuple[float, int, int]] = []
    for number in range(most_parts):
        through = at.T[:, :, None] + part
        begun = through.argmin(axis=1)
        done = np.take_along_axis(through, begun[:, None, :], axis=1)[:, 0, :].T
        reached = done[num_layers] + hop[num_layers, :, target]
        found += [(float(reached[device]), number, device) for device in range(num_devices)]
        moved = done[:, :, None] + hop
        moved[:, np.arange(num_devices), np.arange(num_devices)] = np.inf
        came = moved.argmin(axis=1)
        at = np.take_along_axis(moved, came[:, None, :], axis=1)[:, 0, :]
        steps.append((begun, came))
    found = sorted(one for one in found if np.isfinite(one[0]))[:most]
    return [(price, _traced(steps, reloads, number, device)) for price, number, device in found]


def _traced(steps: list[tuple[IntArray, IntArray]], reloads: np.ndarray, number: int, device: int) -> tuple[Part, ...]:
    """Follow a path back from its last device."""
    parts: list[Part] = []
    end = reloads.shape[1] - 1
    while True:
        start = int(steps[number][0][device, end])
        parts.append(Part(device, start, end, bool(reloads[device, start, end])))
        if number == 0:
            return tuple(reversed(parts))
        number -= 1
        device, end = int(steps[number][1][start, device]), start
