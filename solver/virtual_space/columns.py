"""Plans of one app as columns of the joint programme: parts in order, and what they take of every unit and memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import UNITS, FloatArray, IntArray, SpaceApp, Unit, VirtualSpace

NUM_UNITS = len(UNITS)
CNN, CPU, TX, RX = (UNITS.index(unit) for unit in (Unit.CNN, Unit.CPU, Unit.TX, Unit.RX))
KERNEL, BIAS, LAYERS = range(3)
NUM_MEMORIES = 3


@dataclass(frozen=True, order=True)
class Part:
    """A range of layers on one device.

    Parameters
    ----------
    device
        Position of the device.
    start, end
        Places between layers.
    reloads
        Whether the weights are loaded for every frame; they stay in kernel memory otherwise.
    """

    device: int
    start: int
    end: int
    reloads: bool = False


@dataclass(frozen=True)
class Column:
    """One plan of one app.

    Parameters
    ----------
    app
        Position of the app.
    parts
        Its parts, in order; neighbours are on different devices.
    busy_s
        [D, 4] seconds of every unit a frame.
    held
        [D, 3] kernel bytes of a processor, bias bytes and layers that stay on every device.
    loading_bytes
        [D] kernel bytes of a processor that parts load their weights into.
    energy_j
        Joules a frame; NaN where a power is not known.
    """

    app: int
    parts: tuple[Part, ...]
    busy_s: FloatArray
    held: IntArray
    loading_bytes: IntArray
    energy_j: float

    @cached_property
    def total_s(self) -> float:
        """Seconds of all units together."""
        return float(self.busy_s.sum())


def memory_capacities(space: VirtualSpace) -> IntArray:
    """Return what every device has: [D, 3] kernel bytes of a processor, bias bytes and layers.

    Parameters
    ----------
    space
        The space.
    """
    return np.array([(one.kernel_bytes, one.bias_bytes, one.most_layers) for one in space.devices], dtype=np.int64)


def reload_s(space: VirtualSpace, app: SpaceApp, part: Part) -> float:
    """Return the seconds in which a part's weights and biases come from flash.

    Parameters
    ----------
    space, app, part
        The part, its app and their space.
    """
    rate = space.devices[part.device].reload_bytes_per_s
    assert rate is not None
    chosen = slice(part.start, part.end)
    return float(app.weight_bytes[chosen].sum() + app.bias_bytes[chosen].sum()) / rate


def refusal(space: VirtualSpace, app: SpaceApp, part: Part) -> str | None:
    """Return why a part cannot run where it is put, whatever else does; None where it can.

    Parameters
    ----------
    space, app, part
        The part, its app and their space.
    """
    device = space.devices[part.device]
    costs = app.by_kind[device.kind]
    chosen = slice(part.start, part.end)
    if not np.isfinite(costs.layer_s[chosen]).all():
        return "a layer is not supported"
    if part.reloads and device.reload_bytes_per_s is None:
        return "the rate of flash is not stated"
    if costs.data_bytes[chosen].max() > device.data_bytes:
        return "data memory"
    kernel = (costs.widest_bytes if part.reloads else costs.height_bytes)[part.start, part.end]
    if kernel > device.kernel_bytes:
        return "kernel memory"
    if not part.reloads and (
        app.bias_bytes[chosen].sum() > device.bias_bytes or part.end - part.start > device.most_layers
    ):
        return "bias memory or layers"
    return None


def make_column(space: VirtualSpace, app_index: int, parts: Iterable[Part]) -> Column:
    """Return a plan of an app with all it takes.

    Parameters
    ----------
    space
        The space.
    app_index
        Position of the app.
    parts
        Its parts, in order, each of which can run where it is put.
    """
    app, chosen = space.apps[app_index], tuple(parts)
    num_devices = len(space.devices)
    busy = np.zeros((num_devices, NUM_UNITS))
    held = np.zeros((num_devices, NUM_MEMORIES), dtype=np.int64)
    loading = np.zeros(num_devices, dtype=np.int64)
    here = app.source
    for part in chosen:
        device = space.devices[part.device]
        costs = app.by_kind[device.kind]
        _send(space, busy, int(app.crossing_bytes[part.start]), here, part.device)
        here = part.device
        busy[here, CNN] += costs.start_s + costs.layer_s[part.start : part.end].sum()
        moved = app.crossing_bytes[part.start] + app.crossing_bytes[part.end]
        busy[here, CPU] += moved / device.bus_bytes_per_s
        if part.reloads:
            busy[here, [CNN, CPU]] += reload_s(space, app, part)
            loading[here] += costs.widest_bytes[part.start, part.end]
        else:
            held[here] += (
                costs.height_bytes[part.start, part.end],
                app.bias_bytes[part.start : part.end].sum(),
                part.end - part.start,
            )
    _send(space, busy, int(app.crossing_bytes[-1]), here, app.target)
    return Column(app_index, chosen, busy, held, loading, _energy_j(space, busy))


def _send(space: VirtualSpace, busy: FloatArray, size_bytes: int, sender: int, receiver: int) -> None:
    seconds = space.hop_s(size_bytes, sender, receiver)
    busy[sender, TX] += seconds
    busy[receiver, RX] += seconds


def _energy_j(space: VirtualSpace, busy: FloatArray) -> float:
    powers = [
        (np.nan if one.active_power_w is None else one.active_power_w,
         np.nan if one.radio_power_w is None else one.radio_power_w)
        for one in space.devices
    ]  # fmt: skip
    active, radio = np.array(powers).T
    used = busy > 0
    computing = np.where(used[:, CNN], busy[:, CNN] * active, 0.0).sum()
    sending = np.where(used[:, TX] | used[:, RX], (busy[:, TX] + busy[:, RX]) * radio, 0.0).sum()
    return float(computing + sending)


def dominates(better: Column, worse: Column) -> bool:
    """Return whether a plan of an app takes no more of anything than another plan of it.

    Parameters
    ----------
    better, worse
        The two plans.
    """
    return bool(
        (better.busy_s <= worse.busy_s).all()
        and (better.held <= worse.held).all()
        and (better.loading_bytes <= worse.loading_bytes).all()
    )
