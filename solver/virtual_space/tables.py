"""What every range of layers of an app takes on every device, as arrays: the ground of pricing and enumeration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import BoolArray, FloatArray, IntArray, SpaceApp, VirtualSpace
from hybridsplit.scenarios.units import bits


@dataclass(frozen=True)
class AppTables:
    """What ranges of layers take. Devices of one kind with the same rates are one class and share a table.

    Parameters
    ----------
    class_of
        [D] class of every device.
    compute_s
        [K, L + 1, L + 1] seconds of the accelerator; infinite where a range cannot run, whatever its weights do.
    moving_s
        [K, L + 1, L + 1] seconds of the bus.
    reload_s
        [K, L + 1, L + 1] seconds of loading weights; infinite where they cannot be loaded for every frame.
    held
        [K, 3, L + 1, L + 1] kernel bytes of a processor, bias bytes and layers of a range that stays.
    stays
        [K, L + 1, L + 1] whether a range can stay.
    widest_bytes
        [K, L + 1, L + 1] kernel bytes that loading it needs.
    """

    class_of: IntArray
    compute_s: FloatArray
    moving_s: FloatArray
    reload_s: FloatArray
    held: FloatArray
    stays: FloatArray
    widest_bytes: FloatArray


def tables_of(space: VirtualSpace, app: SpaceApp) -> AppTables:
    """Return the tables of an app.

    Parameters
    ----------
    space, app
        The app and its space.
    """
    keys = [(one.kind, one.bus_bytes_per_s, one.reload_bytes_per_s) for one in space.devices]
    classes = list(dict.fromkeys(keys))
    size = app.num_layers + 1
    start, end = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    is_range = start < end
    compute, moving, reload, held, stays, widest = [], [], [], [], [], []
    for kind, bus, flash in classes:
        device = next(one for one, key in zip(space.devices, keys, strict=True) if key == (kind, bus, flash))
        costs = app.by_kind[kind]
        runs = is_range & _all_within(np.isfinite(costs.layer_s) & (costs.data_bytes <= device.data_bytes))
        seconds = _sums(np.where(np.isfinite(costs.layer_s), costs.layer_s, 0.0))
        compute.append(np.where(runs, costs.start_s + seconds, np.inf))
        moving.append((app.crossing_bytes[:, None] + app.crossing_bytes[None, :]) / bus)
        weights = _sums(app.weight_bytes + app.bias_bytes)
        can_load = runs & (costs.widest_bytes <= device.kernel_bytes)
        reload.append(np.where(can_load, weights / flash, np.inf) if flash else np.full(runs.shape, np.inf))
        parts = np.stack([costs.height_bytes, _sums(app.bias_bytes), np.where(is_range, end - start, 0)])
        capacities = np.array([device.kernel_bytes, device.bias_bytes, device.most_layers])
        held.append(parts)
        stays.append(runs & (parts <= capacities[:, None, None]).all(axis=0))
        widest.append(costs.widest_bytes)
    return AppTables(
        np.array([classes.index(key) for key in keys]),
        *(np.array(values, dtype=np.float64) for values in (compute, moving, reload, held, stays, widest)),
    )


def hop_seconds(space: VirtualSpace, app: SpaceApp) -> FloatArray:
    """Return the seconds of sending what crosses each place: [L + 1, D, D], zero within a device.

    Parameters
    ----------
    space, app
        The app and its space.
    """
    links = np.array([one.link_bps for one in space.devices])
    rates = np.minimum(links[:, None], links[None, :])
    np.fill_diagonal(rates, np.inf)
    crossing = np.array([bits(float(size)) for size in app.crossing_bytes])
    return np.asarray(crossing[:, None, None] / rates)


def _sums(values: FloatArray | IntArray | BoolArray) -> FloatArray:
    """Return the sums over all ranges."""
    until = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(until[None, :] - until[:, None])


def _all_within(holds: BoolArray) -> BoolArray:
    """Return for all ranges whether something holds for every layer of them."""
    return np.asarray(_sums(~holds) == 0)
