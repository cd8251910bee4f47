"""Fit a device's roofline to timed work.

Every figure of a roofline is positive and known to a factor at best, so logarithms are fitted: of each figure, and of
predicted over measured seconds. A weak pull towards a stated starting point (one unit of its logarithm counts as much
as a 10 % error of one timing) decides what the timings leave open, and a soft loss keeps one odd timing from bending
the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from hybridsplit.profiler.costs import OperatorCost
from hybridsplit.profiler.roofline import seconds
from hybridsplit.scenarios.devices import Device, RooflineEfficiency
from hybridsplit.scenarios.errors import ProfileError

PULL = 0.1
"""Weight of the starting point, as a relative error per unit of logarithm."""
_SOFT = 0.1
"""Relative error from which on the loss grows linearly."""
_CALLS = ("grouped_call_s", "operator_call_s")
_RATES = ("random_numbers_per_s",)


@dataclass(frozen=True)
class MeasuredWork:
    """A piece of work and how long it took.

    Parameters
    ----------
    name, family
        What was timed, and the family of models it belongs to.
    work
        Its operators.
    seconds
        Measured time.
    weight
        Weight of its relative error in a fit.
    """

    name: str
    family: str
    work: OperatorCost
    seconds: float
    weight: float = 1.0


def with_efficiency(device: Device, efficiency: RooflineEfficiency) -> Device:
    """Return the device with other shares of its peaks."""
    return device.model_copy(update={"efficiency": efficiency})


def fit_efficiency(
    timings: Sequence[MeasuredWork],
    device: Device,
    start: RooflineEfficiency,
    free: Sequence[str],
    tied: Mapping[str, str] | None = None,
) -> RooflineEfficiency:
    """Fit some figures of a roofline.

    Parameters
    ----------
    timings
        Timed work; the families' weights are balanced, so that many members do not outvote few.
    device
        Its peaks.
    start
        Starting point, towards which the fit is weakly pulled; figures that are not free stay as they are here.
    free
        Names of the figures to fit.
    tied
        Figures that equal another one.

    Raises
    ------
    ProfileError
        If there is nothing to fit on.
    """
    if not timings:
        raise ProfileError(f"{device.name}: no timings to calibrate on; give at least one")
    names = list(free)
    values = start.model_dump()
    if missing := [name for name in names if not values[name]]:
        raise ProfileError(f"{device.name}: {', '.join(missing)} cannot be fitted from nothing; give a starting value")
    begin = np.log([float(values[name]) for name in names])
    sizes = {one.family: sum(other.family == one.family for other in timings) for one in timings}
    weights = np.array([one.weight / np.sqrt(sizes[one.family]) for one in timings])
    weights /= np.sqrt(np.mean(weights**2))
    measured = np.log([one.seconds for one in timings])

    def at(logarithms: np.ndarray) -> RooflineEfficiency:
        figures: dict[str, Any] = dict(zip(names, np.exp(logarithms).tolist(), strict=True))
        figures |= {name: figures[other] for name, other in (tied or {}).items()}
        return start.model_copy(update=figures)

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        tuned = with_efficiency(device, at(logarithms))
        errors = np.log([seconds(one.work, tuned) for one in timings]) - measured
        return np.concatenate([weights * errors, PULL * (logarithms - begin)])

    highest = np.array([np.inf if name in (*_CALLS, *_RATES) else 0.0 for name in names])
    found = least_squares(
        residuals, np.minimum(begin, highest - 1e-6), bounds=(-np.inf, highest), loss="soft_l1", f_scale=_SOFT
    )
    if not found.success:
        raise ProfileError(f"{device.name}: the roofline could not be fitted ({found.message}); check the timings")
    return RooflineEfficiency.model_validate(at(found.x).model_dump())


def carried_over(known: Device, other: Device, timings: Sequence[MeasuredWork]) -> RooflineEfficiency:
    """Starting point for a device that has few timings: a known device's seconds times one ratio.

    Parameters
    ----------
    known
        A calibrated device of the same kind.
    other
        The device to start.
    timings
        Its timings, which give the ratio.

    Raises
    ------
    ScenarioError
        If a device lacks a peak.
    """
    ratio = float(np.exp(np.mean([np.log(one.seconds / seconds(one.work, known)) for one in timings])))
    assert known.efficiency
    assert known.fp32_flops_per_s
    assert known.memory_bandwidth_bytes_per_s
    assert other.fp32_flops_per_s
    assert other.memory_bandwidth_bytes_per_s
    compute = known.fp32_flops_per_s / other.fp32_flops_per_s / ratio
    memory = known.memory_bandwidth_bytes_per_s / other.memory_bandwidth_bytes_per_s / ratio
    scaled: dict[str, Any] = {}
    for name, value in known.efficiency.model_dump().items():
        if value is None or isinstance(value, bool):
            scaled[name] = value
        elif name in _CALLS:
            scaled[name] = value * ratio
        elif name in _RATES:
            scaled[name] = value / ratio
        else:
            scaled[name] = min(1.0, value * (memory if name == "memory" else compute))
    return RooflineEfficiency.model_validate(scaled)


def relative_errors(timings: Sequence[MeasuredWork], device: Device) -> np.ndarray:
    """[N] predicted over measured seconds, minus one."""
    return np.array([seconds(one.work, device) / one.seconds - 1 for one in timings])
