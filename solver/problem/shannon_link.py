"""Uplinks by Shannon's formula with a fixed device power: durations and shares by a root in the SNR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridsplit.scenarios.schema import Radio, ShannonLink
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, Index
from hybridsplit.solver.problem.links import Balance

_MAX_NEWTON_STEPS = 60
_LOG_STEPS = 2
_NEWTON_TOLERANCE = 1e-5
"""Convergence is quadratic: after a last step this small the root is right to 1e-10, and a cost, which is flat there,
to the precision of the numbers."""
_SERIES_BELOW = 1e-3
"""SNR under which ``y/ln(1+y)`` and its derivatives come from their series: the closed forms cancel there."""


@dataclass(frozen=True)
class ShannonUplink:
    """A link with a fixed device power: rate ``share·B·log2(1 + snr/share)``.

    With ``y = snr/share`` a duration is ``floor_s·g(y)``, where ``g(y) = y/ln(1+y)`` is concave and increasing from 1.

    Parameters
    ----------
    floor_s
        Seconds at infinite bandwidth, ``bits·ln2·N0/(P·g)``: no share is faster.
    full_share_snr
        ``P·g/(N0·B)``: signal-to-noise ratio at the full share.
    """

    floor_s: FloatArray
    full_share_snr: FloatArray

    def take(self, index: Index) -> ShannonUplink:
        """Return the rows of an index on the leading axis."""
        return ShannonUplink(self.floor_s[index], self.full_share_snr[index])

    @property
    def is_idle(self) -> BoolArray:
        """[...] True where nothing has to be carried."""
        return np.asarray(self.floor_s == 0)

    def seconds(self, share: FloatArray | float) -> FloatArray:
        """[...] duration at a share of the band, seconds."""
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = self.full_share_snr / np.asarray(share, dtype=float)
            gain = np.where(np.isinf(snr), np.inf, _over_log(snr)[0])
            return np.where(self.is_idle, 0.0, self.floor_s * gain)

    def share_in(self, duration_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """[...] share needed for a duration, with its first and second derivative."""
        return self._shares(duration_s, duration_s, 0.0)[1:]

    def expression(self, cp: Any, share: Any, per_whole: float, unit_s: float) -> Any:
        """State the duration with cvxpy: bits over the relative-entropy cone of the rate.

        Arguments as of :meth:`UplinkWork.expression`.         ``x·ln(1 + k/x) = x·ln m − rel_entr(x, (x + k)/m)`` for
        any m; m = k keeps the cone's numbers near one at high SNR. The rate is in units of its value at a share of one
        unit.
        """
        snr = self.full_share_snr * per_whole
        at_unit, level = np.log1p(snr), np.maximum(snr, 1.0)
        entropy = cp.rel_entr(share, cp.multiply(1.0 / level, share + snr))
        rate = cp.multiply(np.log(level) / at_unit, share) - cp.multiply(1.0 / at_unit, entropy)
        return cp.multiply(self.floor_s * snr / at_unit / unit_s, cp.inv_pos(rate))

    def balance(self, price: FloatArray, rest: FloatArray, slack_s: FloatArray) -> Balance:
        """Solve the stationarity condition, a one-dimensional root in the SNR, by Newton from the left.

        ``√(price·snr)·(slack − floor·g(y)) = √(rest·floor)·y·√g'(y)``: the left side falls in ``y``, the right side
        rises.
        Arguments as of :meth:`UplinkWork.balance`.
        """
        left = np.sqrt(price * self.full_share_snr)
        bend = np.sqrt(rest * self.floor_s) / np.where(left > 0, left, 1.0)
        return self._shares(slack_s, slack_s, bend)

    def _shares(self, target_s: FloatArray, limit_s: FloatArray, bend: FloatArray | float) -> Balance:
        """Duration and share where ``floor·g(y) + bend·y·√g'(y) = target``; none reaches a target below the floor."""
        reachable = (target_s > self.floor_s) & ~self.is_idle
        everywhere = bool(reachable.all())
        floor_s = self.floor_s if everywhere else np.where(reachable, self.floor_s, 1.0)
        target_s = target_s if everywhere else np.where(reachable, target_s, 2.0)
        snr, gain, slope, curvature = _snr_where(target_s, floor_s, bend)
        share = self.full_share_snr / snr
        share_per_snr = -share / snr
        duration_per_snr = floor_s * slope
        first = share_per_snr / duration_per_snr
        second = (-2.0 * share_per_snr / snr - first * floor_s * curvature) / (duration_per_snr * duration_per_snr)
        if everywhere:
            return Balance(floor_s * gain, share, first, second)
        lost = np.where(self.is_idle, 0.0, np.inf)
        return Balance(
            np.where(reachable, floor_s * gain, np.where(self.is_idle, 0.0, limit_s)),
            np.where(reachable, share, lost),
            np.where(reachable, first, -lost),
            np.where(reachable, second, lost),
        )


def _over_log(y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``g(y) = y/ln(1+y)`` with its first two derivatives (Gregory series where the closed forms cancel)."""
    small = y < _SERIES_BELOW
    z = np.where(small, 1.0, y)
    log = np.log1p(z)
    over = 1.0 / (1.0 + z)
    inner = log - z * over
    per_log = 1.0 / log
    first = inner * per_log * per_log
    second = over * per_log * (z * over * per_log - 2.0 * first)
    if not small.any():
        return z * per_log, first, second
    return (
        np.where(small, 1.0 + y * (1 / 2 - y * (1 / 12 - y * (1 / 24 - y * (19 / 720)))), z * per_log),
        np.where(small, 1 / 2 - y * (1 / 6 - y * (1 / 8 - y * (19 / 180))), first),
        np.where(small, -1 / 6 + y * (1 / 4 - y * (19 / 60)), second),
    )


def _snr_where(
    target: FloatArray, slope: FloatArray, bend: FloatArray | float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Solve ``slope·g(y) + bend·y·√g'(y) = target`` for ``y``, where ``target > slope``.

    Also returns ``g, g', g''`` there. The left side is increasing and concave, and its logarithm is nearly linear in
    ``ln(1+y)``: two Newton steps on those axes come within 1e-5 of the root from the tangent at zero. Plain Newton
    steps, which converge from any start where the function is concave, do the rest.
    """
    y = (target - slope) / (slope / 2 + bend * math.sqrt(0.5))
    for iteration in range(_MAX_NEWTON_STEPS):
        value, first, second = _over_log(y)
        reached, per_snr = slope * value, slope * first
        if np.ndim(bend):
            root = np.sqrt(first)
            reached += bend * y * root
            per_snr += bend * (root + 0.5 * y * second / root)
        error = target - reached
        step = error / per_snr
        if np.all(np.abs(step) <= _NEWTON_TOLERANCE * y):
            break
        if iteration < _LOG_STEPS:
            above = 1.0 + y
            longer = above * np.expm1(np.log1p(error / reached) * reached / (per_snr * above))
            y = np.maximum(y + longer, 0.1 * y)
        else:
            y = np.maximum(y + step, 0.1 * y)
    return y + step, value + first * step, first + second * step, second


def shannon_work(
    radio: Radio, links: Sequence[ShannonLink], client_index: Index, uplink_bits: FloatArray
) -> ShannonUplink:
    """Build the transfers of option rows over Shannon links; parameters as in :func:`uplink_work`, links [N]."""
    power_over_noise_hz = np.array([_power_over_noise_hz(link, radio) for link in links])[client_index]
    if radio.uplink_hz == 0:
        power_over_noise_hz = np.zeros_like(power_over_noise_hz)
    floor_s = np.where(uplink_bits > 0, uplink_bits * math.log(2.0) / power_over_noise_hz, 0.0)
    return ShannonUplink(floor_s, power_over_noise_hz / (radio.uplink_hz or 1.0))


def _power_over_noise_hz(link: ShannonLink, radio: Radio) -> float:
    """``P·g/N0`` in hertz: the bandwidth at which the SNR is one."""
    return float(10.0 ** ((link.transmit_power_dbm + link.path_gain_db - radio.noise_dbm_per_hz) / 10.0))
