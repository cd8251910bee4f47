"""Rates of apps at given plans: the common period, or max-min fair beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray, VirtualSpace
from hybridsplit.solver.virtual_space.columns import Column


def common_rates(space: VirtualSpace, period_s: float) -> FloatArray:
    """Return the rates of apps that share a period: [A] frames a second.

    Parameters
    ----------
    space
        The space.
    period_s
        The period.
    """
    return np.array([one.frames / period_s if one.rate_hz is None else one.rate_hz for one in space.apps])


def fair_rates(space: VirtualSpace, columns: Sequence[Column]) -> FloatArray:
    """Return max-min fair rates, in proportion to the frames of apps: [A] frames a second.

    The rates of all apps rise together until a unit is busy all the time; the apps that use it stay there, and the
    others rise on. So no app can be faster unless one that is no faster, in proportion, becomes slower.

    Parameters
    ----------
    space
        The space.
    columns
        One plan of every app.
    """
    uses = np.array([one.busy_s.ravel() for one in columns])
    weights = np.array([float(space.apps[one.app].frames) for one in columns])
    rates = np.array([space.apps[one.app].rate_hz or 0.0 for one in columns])
    is_rising = np.array([space.apps[one.app].rate_hz is None for one in columns])
    while is_rising.any():
        left = 1 - rates @ uses
        demand = (weights * is_rising) @ uses
        steps = np.full(len(left), np.inf)
        np.divide(np.maximum(left, 0.0), demand, out=steps, where=demand > 0)
        step = float(steps.min())
        rates = rates + step * weights * is_rising
        is_full = steps <= step * (1 + 1e-12)
        is_rising &= ~(uses[:, is_full] > 0).any(axis=1)
    return rates
