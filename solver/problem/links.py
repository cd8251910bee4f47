"""Uplink models: how long a transfer takes at a share of the band, and the reverse.

An object here is a *transfer per row*: a link and the bits it has to carry. All methods work element-wise on arrays of
any shape, so that a row can be an option, a client, or a client within a batch of candidate plans. The rest of the
solver knows links only through :class:`UplinkWork`; every model passes the same contract tests.

The downlink needs no model of its own: its power density is constant, so its rate is linear in the share
(docs/methods/costs.md, Latency of a client) and one number, seconds at the full share, says everything.

Transfers over a link of the client's own use nothing that is shared: here they carry nothing, and their seconds go with
those of the device (:func:`dedicated_s`).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from hybridsplit.scenarios.schema import AnyLink, Client, FixedLink, LinkModel, Radio, RatedLink
from hybridsplit.scenarios.sections.network import LINK_MODELS
from hybridsplit.solver.problem.arrays import BoolArray, FloatArray, Index


class UplinkWork(Protocol):
    """What the solver needs to know about the uplink transfer of every row.

    A transfer of zero bits takes zero seconds and needs no share. Durations fall and are convex in the share, shares
    fall and are convex in the duration.
    """

    def take(self, index: Index) -> Self:
        """Return the rows of an index on the leading axis."""
        ...

    @property
    def is_idle(self) -> BoolArray:
        """[...] True where nothing has to be carried."""
        ...

    def seconds(self, share: FloatArray | float) -> FloatArray:
        """[...] duration at a share of the band, seconds; infinite at share 0 with bits to carry."""
        ...

    def share_in(self, duration_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """[...] share needed for a duration, with its first and second derivative in the duration.

        A duration that no share can reach gives an infinite share. Idle rows give zeros.
        """
        ...

    def expression(self, cp: Any, share: Any, per_whole: float, unit_s: float) -> Any:
        """State the duration with cvxpy, convex in the share.

        Parameters
        ----------
        cp
            The module ``cvxpy``.
        share
            Variable of the rows' shares, of which ``per_whole`` make up the whole band.
        per_whole
            Number of units of share in the whole band.
        unit_s
            Unit of the durations to return, seconds.
        """
        ...

    def balance(self, price: FloatArray, rest: FloatArray, slack_s: FloatArray) -> Balance:
        """Minimise ``price·share(t) + rest/(slack_s − t)`` over the duration ``t``, seconds.

        Parameters
        ----------
        price
            [...] price of the whole band.
        rest
            [...] priced work of what the remaining slack is left to.
        slack_s
            [...] seconds for both, above zero.
        """
        ...


class Balance(NamedTuple):
    """A duration with the share that gives it and the share's first and second derivative in the duration."""

    duration_s: FloatArray
    share: FloatArray
    first: FloatArray
    second: FloatArray


@dataclass(frozen=True)
class FixedUplink:
    """A link whose rate is ``share·B·η``.

    Parameters
    ----------
    full_share_s
        Seconds at the full share, ``bits/(B·η)``.
    """

    full_share_s: FloatArray

    def take(self, index: Index) -> FixedUplink:
        """Return the rows of an index on the leading axis."""
        return FixedUplink(self.full_share_s[index])

    @property
    def is_idle(self) -> BoolArray:
        """[...] True where nothing has to be carried."""
        return np.asarray(self.full_share_s == 0)

    def seconds(self, share: FloatArray | float) -> FloatArray:
        """[...] duration at a share of the band, seconds."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.is_idle, 0.0, self.full_share_s / share)

    def share_in(self, duration_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """[...] share needed for a duration, with its first and second derivative."""
        duration_s = np.where(self.is_idle, 1.0, duration_s)
        with np.errstate(divide="ignore"):
            share = self.full_share_s / duration_s
            slope = -share / duration_s
        return share, slope, -2.0 * slope / duration_s

    def expression(self, cp: Any, share: Any, per_whole: float, unit_s: float) -> Any:
        """State the duration with cvxpy, as :meth:`UplinkWork.expression`: work over share."""
        return cp.multiply(self.full_share_s * per_whole / unit_s, cp.inv_pos(share))

    def balance(self, price: FloatArray, rest: FloatArray, slack_s: FloatArray) -> Balance:
        """Divide the slack in the ratio of the square roots of the priced work (closed form).

        Arguments as of :meth:`UplinkWork.balance`.
        """
        own = np.sqrt(price * self.full_share_s)
        total = own + np.sqrt(rest)
        part = own / np.where(total > 0, total, 1.0)
        duration_s = slack_s * np.where(total > 0, part, np.where(self.is_idle, 0.0, 1.0))
        return Balance(duration_s, *self.share_in(duration_s))


def uplink_work(radio: Radio, clients: Sequence[Client], client_index: Index, uplink_bits: FloatArray) -> UplinkWork:
    """Build the transfers of option rows.

    Parameters
    ----------
    radio
        Band and link model of the scenario.
    clients
        Clients of the scenario, with their links.
    client_index
        [K] index into ``clients`` of every row.
    uplink_bits
        [K] bits that every row carries in a round.

    Notes
    -----
    Shannon's formula with a fixed device power is ``rate(β) = βB·log2(1 + P·g/(N0·βB))`` (docs/methods/costs.md,
    Latency of a client). A band of zero hertz gives infinite seconds, which the problem turns into a typed error. Rows
    of clients with a link of their own carry nothing.
    """
    sharing = np.array([not client.link.is_dedicated for client in clients])
    if not sharing.all():
        if not sharing.any():
            return FixedUplink(np.zeros(len(client_index)))
        uplink_bits = np.where(sharing[client_index], uplink_bits, 0.0)
        # A model sees links of its own only; a row that carries nothing may name any of them.
        client_index = np.maximum(np.cumsum(sharing) - 1, 0)[client_index]
        clients = [client for client in clients if not client.link.is_dedicated]
    module, _, name = LINK_MODELS[radio.link_model].work.partition(":")
    make: Callable[..., UplinkWork] = getattr(importlib.import_module(module), name)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return make(radio, [client.link for client in clients], client_index, uplink_bits)


def fixed_work(
    radio: Radio, links: Sequence[FixedLink | RatedLink], client_index: Index, uplink_bits: FloatArray
) -> FixedUplink:
    """Build the transfers of option rows over links whose rate is proportional to the share.

    Parameters are those of :func:`uplink_work`, with links [N] that state an efficiency on the band, or the rate of the
    whole medium.
    """
    whole_bps = np.array(
        [link.uplink_bps if isinstance(link, RatedLink) else radio.uplink_hz * link.uplink_bps_per_hz for link in links]
    )
    return FixedUplink(np.where(uplink_bits > 0, uplink_bits / whole_bps[client_index], 0.0))


def downlink_bps(radio: Radio, clients: Sequence[Client]) -> FloatArray:
    """[N] downlink rate of every client at the full share, bit/s; infinite where the link is the client's own.

    Transfers over such links use no shared downlink: :func:`dedicated_s` has their seconds.
    """
    return np.array([_downlink_bps(radio, client.link) for client in clients])


def _downlink_bps(radio: Radio, link: AnyLink) -> float:
    if isinstance(link, RatedLink):
        return math.inf if link.is_dedicated else link.downlink_bps
    assert isinstance(link, LinkModel)
    return radio.downlink_hz * link.downlink_bps_per_hz


def dedicated_s(
    clients: Sequence[Client], client_index: Index, uplink_bits: FloatArray, downlink_bits: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the seconds of transfers over links that nobody shares.

    Parameters
    ----------
    clients, client_index
        As of :func:`uplink_work`.
    uplink_bits, downlink_bits
        [K] bits that every row carries in a round.

    Returns
    -------
    [K] seconds up and [K] seconds down; 0 for clients that share the radio.
    """
    links = [client.link for client in clients]
    if not any(link.is_dedicated for link in links):
        return np.zeros_like(uplink_bits), np.zeros_like(downlink_bits)
    up_bps, down_bps = (
        np.array([getattr(link, name) if link.is_dedicated else math.inf for link in links])
        for name in ("uplink_bps", "downlink_bps")
    )
    return uplink_bits / up_bps[client_index], downlink_bits / down_bps[client_index]
