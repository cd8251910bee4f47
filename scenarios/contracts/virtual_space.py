"""The virtual space: what accelerators offer together, and what every part of every app would take of it.

The contract between profiler and solver of an inference task, as the option table is for training. The solver knows no
layers: a part of an app is a range of places between layers, ``start`` up to ``end``, and costs what the tables say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Unit(StrEnum):
    """What each device has one of; it does one thing at a time."""

    CNN = "cnn"
    """The accelerator, while it computes or its weights are loaded."""
    CPU = "cpu"
    """The CPU, while it moves data over the bus or loads weights."""
    TX = "tx"
    """The radio, sending."""
    RX = "rx"
    """The radio, receiving."""


UNITS = tuple(Unit)


@dataclass(frozen=True)
class SpaceDevice:
    """One device of the space.

    Parameters
    ----------
    id, kind
        Its name, and what kind of accelerator it is.
    link_bps, bus_bytes_per_s
        Rates of its radio in either direction, and of the bus to the accelerator.
    reload_bytes_per_s
        Rate at which weights come from flash; None where no part may load them for every frame.
    kernel_bytes, bias_bytes, most_layers, data_bytes
        Kernel memory of a processor, bias memory, layers, and data memory of an instance.
    active_power_w, radio_power_w
        Power while the accelerator runs, and while the radio sends or receives; None where it is not known.
    """

    id: str
    kind: str
    link_bps: float
    bus_bytes_per_s: float
    reload_bytes_per_s: float | None
    kernel_bytes: int
    bias_bytes: int
    most_layers: int
    data_bytes: int
    active_power_w: float | None
    radio_power_w: float | None


@dataclass(frozen=True)
class KindCosts:
    """What an app's layers take of one kind of accelerator.

    Parameters
    ----------
    start_s
        Seconds with which every part begins.
    layer_s
        [L] seconds of every layer; infinite where the kind does not support it.
    height_bytes
        [L + 1, L + 1] bytes of a processor's kernel memory that layers ``start`` to ``end`` take together.
    widest_bytes
        [L + 1, L + 1] bytes that the largest of them takes, which is the room for loading them one after another.
    data_bytes
        [L] bytes in an instance of data memory while the layer runs.
    waiting_bytes
        [L + 1] bytes in an instance of data memory that what crosses each place takes.
    unsupported
        By position of the layer, what the kind does not support of it, in words.
    """

    start_s: float
    layer_s: FloatArray
    height_bytes: IntArray
    widest_bytes: IntArray
    data_bytes: IntArray
    waiting_bytes: IntArray
    unsupported: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True)
class SpaceApp:
    """One app of the space.

    Parameters
    ----------
    id, model
        Its name and that of its network.
    source, target
        Positions of the devices where frames are taken and results needed.
    frames
        Frames in a period; meaningless where ``rate_hz`` is given.
    rate_hz, least_rate_hz
        Fixed rate, and lowest rate of an app without one.
    layers
        Names of the layers.
    crossing_bytes
        [L + 1] bytes that cross each place: the first is the frame, the last the result.
    weight_bytes, bias_bytes
        [L] of every layer.
    by_kind
        What the layers take, by kind of accelerator.
    """

    id: str
    model: str
    source: int
    target: int
    frames: int
    rate_hz: float | None
    least_rate_hz: float | None
    layers: tuple[str, ...]
    crossing_bytes: IntArray
    weight_bytes: IntArray
    bias_bytes: IntArray
    by_kind: Mapping[str, KindCosts]

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return len(self.layers)


@dataclass(frozen=True)
class VirtualSpace:
    """Devices and apps.

    Parameters
    ----------
    devices, apps
        What there is, and what is to run on it.
    most_cuts
        Most cuts of an app.
    """

    devices: tuple[SpaceDevice, ...]
    apps: tuple[SpaceApp, ...]
    most_cuts: int

    def hop_s(self, size_bytes: float, sender: int, receiver: int) -> float:
        """Return the seconds of a transfer, in which one sends and the other receives; 0 within a device.

        Parameters
        ----------
        size_bytes
            What is sent.
        sender, receiver
            Positions of the devices.
        """
        from hybridsplit.scenarios.units import bits

        if sender == receiver:
            return 0.0
        return bits(size_bytes) / min(self.devices[sender].link_bps, self.devices[receiver].link_bps)
