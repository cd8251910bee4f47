"""Energy of a client's round: power while computing times compute time, power while waiting times the rest.

Both powers are published figures of a device. The radio has no term of its own: no catalogue device publishes its
transmit power as drawn from the battery, and idle power, where known, was measured with the radio on. An energy that
needs an unpublished figure is not a number; it is never zero and never part of a sum.
"""

from __future__ import annotations

import math

from hybridsplit.scenarios.devices import Device


def client_energy_j(device: Device, compute_s: float, waiting_s: float = 0.0) -> float:
    """Return the energy of a round on a device.

    Parameters
    ----------
    device
        What it runs on.
    compute_s
        Time it computes, at ``max_power_w``.
    waiting_s
        Time it sends, receives or waits, at ``idle_power_w``; 0 gives the energy of computing alone.

    Returns
    -------
    float
        Joules; NaN where a power that is needed is not published.

    Raises
    ------
    ValueError
        If a time is negative or not a number.
    """
    if not (compute_s >= 0 and waiting_s >= 0):
        raise ValueError(f"found {compute_s} s of computing and {waiting_s} s of waiting; needs times of at least 0")
    return _energy_j(device.max_power_w, compute_s) + _energy_j(device.idle_power_w, waiting_s)


def _energy_j(power_w: float | None, time_s: float) -> float:
    if time_s == 0:
        return 0.0
    return math.nan if power_w is None else power_w * time_s
