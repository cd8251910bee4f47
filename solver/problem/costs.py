"""What an option costs at prices on the shared resources, for a given deadline.

For a deadline ``T`` and prices ``p = (p_u, p_d, p_s)`` on uplink, downlink and server, the cheapest shares that finish
a client's work in time cost

    cost(p, T) = min p_u·β + p_d·δ + p_s·φ   subject to   C + t_u(β) + b/δ + c/φ ≤ T,

with ``b, c`` the seconds of downlink and server work at the full share. The two linear terms share what the uplink
leaves of the slack in closed form, so one scalar, the uplink's duration, remains: closed form for a fixed link, a root
for Shannon (docs/methods/planning.md, Shares at a deadline). ``cost`` is concave and homogeneous of degree one in
``p``, and convex and falling in ``T``; its gradient in ``p`` is the shares themselves (envelope theorem). Our
reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, Index
from hybridsplit.solver.problem.links import UplinkWork

NUM_RESOURCES = 3
"""Uplink, downlink, server: the order of every array of prices and shares."""
_PRICE_FLOOR = 1e-24
"""Prices are floored at this fraction of the largest, so that a share at price zero stays finite. The floored point is
as dual feasible as any."""
_TINY = 1e-300
_LEAST_SLACK = 1e-15
"""Slack never falls below this fraction of the deadline; a client with less misses it for all practical purposes."""


@dataclass(frozen=True)
class Work:
    """The work of every row: device seconds, a transfer, and seconds at the full downlink and server.

    Parameters
    ----------
    compute_s
        Seconds that no shared resource is used: on the device, on a link of the client's own, and while what was sent
        is on its way.
    uplink
        The uplink transfer.
    downlink_s
        Seconds of downlink at the full share.
    server_s
        Seconds of server compute at the whole available server.
    """

    compute_s: FloatArray
    uplink: UplinkWork
    downlink_s: FloatArray
    server_s: FloatArray

    def take(self, index: Index) -> Work:
        """Return the rows of an index on the leading axis."""
        return Work(self.compute_s[index], self.uplink.take(index), self.downlink_s[index], self.server_s[index])

    def latency_s(self, shares: FloatArray | float) -> FloatArray:
        """[...] seconds at shares [..., 3], or one share of everything: docs/methods/costs.md, Latency of a client."""
        uplink_s, downlink_s, server_s = self.shared_s(shares)
        return self.compute_s + uplink_s + (downlink_s + server_s)

    def shared_s(self, shares: FloatArray | float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Seconds on uplink, downlink and server at shares [..., 3], or at one share of everything."""
        beta, delta, phi = (
            (shares,) * 3 if isinstance(shares, float) else (shares[..., r] for r in range(NUM_RESOURCES))
        )
        return self.uplink.seconds(beta), _divide(self.downlink_s, delta), _divide(self.server_s, phi)

    @property
    def shared_idle(self) -> BoolArray:
        """[...] True where a row needs no shared resource at all."""
        return np.asarray(self.uplink.is_idle & (self.downlink_s == 0) & (self.server_s == 0))


@dataclass(frozen=True)
class Priced:
    """Cost of every row with its derivatives.

    Parameters
    ----------
    value
        [...] cheapest priced resource use.
    usage
        Three arrays [...]: gradient in the prices, which is the share of every resource.
    slope
        [...] derivative in the deadline, per second; never positive.
    curvature
        Six arrays [...], second derivatives in the prices (uu, ud, us, dd, ds, ss); empty when not asked for.
    """

    value: FloatArray
    usage: tuple[FloatArray, FloatArray, FloatArray]
    slope: FloatArray
    curvature: tuple[FloatArray, ...] = ()


class SharingRule(Protocol):
    """How clients may share a resource within a round; it decides what a bound holds for."""

    def price(
        self, work: Work, prices: FloatArray, deadline_s: FloatArray | float, *, curvature: bool = False
    ) -> Priced:
        """Price every row.

        Parameters
        ----------
        work
            The rows; arrays [...].
        prices
            [3], or [..., 3] to be broadcast against the rows.
        deadline_s
            One deadline, or one for each row, seconds.
        curvature
            Whether second derivatives are wanted.
        """
        ...


@dataclass(frozen=True)
class StaticShares:
    """Every client holds constant shares for the whole round."""

    def price(
        self, work: Work, prices: FloatArray, deadline_s: FloatArray | float, *, curvature: bool = False
    ) -> Priced:
        """Price every row by its cheapest constant shares, as :meth:`SharingRule.price`."""
        p_u, p_d, p_s = _split(prices)
        slack_s = np.maximum(deadline_s - work.compute_s, _LEAST_SLACK * deadline_s)
        root_d, root_s = np.sqrt(p_d * work.downlink_s), np.sqrt(p_s * work.server_s)
        root = root_d + root_s
        rest = root * root
        duration_s, share_u, share_u_1, share_u_2 = work.uplink.balance(p_u, rest, slack_s)
        # Next to a dominating uplink the remainder may round to zero; a floor keeps its (negligible) price finite.
        per_rest = np.where(rest > 0, 1.0 / np.maximum(slack_s - duration_s, _LEAST_SLACK * slack_s + _TINY), 0.0)
        slope = np.where(work.uplink.is_idle, -rest * per_rest**2, p_u * share_u_1)
        usage = (share_u, per_rest * root * root_d / p_d, per_rest * root * root_s / p_s)
        value = p_u * share_u + rest * per_rest
        if not curvature:
            return Priced(value, usage, slope)
        # Second derivatives by the implicit function theorem in (p_u, rest), then by the chain rule through rest.
        # Without uplink, or with nothing but uplink, the duration is pinned and does not react to prices.
        bend = p_u * share_u_2 + 2.0 * rest * per_rest**3
        inverse = np.where(work.uplink.is_idle | (rest == 0), 0.0, 1.0 / np.where(bend > 0, bend, np.inf))
        with np.errstate(invalid="ignore"):  # where no share is enough, the cost is infinite and has no curvature
            uu, ur, rr = -(share_u_1**2) * inverse, -share_u_1 * per_rest**2 * inverse, -(per_rest**4) * inverse
        rest_d, rest_s = root * root_d / p_d, root * root_s / p_s
        cross = 0.5 * root_d * root_s
        return Priced(
            value,
            usage,
            slope,
            (
                uu,
                ur * rest_d,
                ur * rest_s,
                rr * rest_d**2 - per_rest * cross / p_d**2,
                rr * rest_d * rest_s + per_rest * cross / (p_d * p_s),
                rr * rest_s**2 - per_rest * cross / p_s**2,
            ),
        )


@dataclass(frozen=True)
class AnySchedule:
    """Resources may pass from client to client in any order within the round: a relaxation of every schedule.

    A client that owns the mean share ``x`` of a resource over a round of ``T`` seconds gets at most the work of a
    constant share ``x`` (equal for linear rates; Jensen's inequality for the concave Shannon rate), and its phases can
    at best use the whole round each. So the priced use is at least ``p_u·share_in(T) + (p_d·b + p_s·c)/T``. Our
    reconstruction.
    """

    def price(
        self, work: Work, prices: FloatArray, deadline_s: FloatArray | float, *, curvature: bool = False
    ) -> Priced:
        """Price every row by its mean use of each resource, as :meth:`SharingRule.price`."""
        p_u, p_d, p_s = _split(prices)
        deadline = np.broadcast_to(np.asarray(deadline_s, dtype=float), np.shape(work.compute_s))
        share_u, share_u_1, _ = work.uplink.share_in(deadline)
        share_d, share_s = work.downlink_s / deadline, work.server_s / deadline
        value = p_u * share_u + p_d * share_d + p_s * share_s
        slope = p_u * share_u_1 - (p_d * share_d + p_s * share_s) / deadline
        zero = np.zeros_like(value)
        return Priced(value, (share_u, share_d, share_s), slope, (zero,) * 6 if curvature else ())


def _split(prices: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    floored = np.maximum(prices, np.maximum(_PRICE_FLOOR * prices.max(axis=-1, keepdims=True), _TINY))
    return floored[..., 0], floored[..., 1], floored[..., 2]


def _divide(seconds: FloatArray, share: FloatArray | float) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seconds == 0, 0.0, seconds / share)
