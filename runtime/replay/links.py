"""Rate of a radio link at a share of the band, straight from the scenario.

The formulas are written out again here instead of being taken from the planner: a replay that agrees with a plan shows
something only when the two share no formula.
"""

from __future__ import annotations

import math

from hybridsplit.scenarios.schema import AnyLink, FixedLink, LinkModel, Radio, RatedLink, ShannonLink

_MILLIWATTS_PER_WATT = 1e3


def watts_from_dbm(power_dbm: float) -> float:
    """Power in watts.

    Parameters
    ----------
    power_dbm
        Power relative to one milliwatt, dB; a density in dBm/Hz gives W/Hz.

    Returns
    -------
    float
        The power, W (or the density, W/Hz).
    """
    return float(10.0 ** (power_dbm / 10.0)) / _MILLIWATTS_PER_WATT


def uplink_rate_bps(link: AnyLink, radio: Radio, share: float) -> float:
    """Rate at which a client sends with a share of the uplink.

    Parameters
    ----------
    link
        The client's link.
    radio
        The spectrum all clients share.
    share
        Fraction of the uplink band, in [0, 1].

    Returns
    -------
    float
        bit/s; 0 for a share of 0. A fixed link carries ``share * uplink_hz * uplink_bps_per_hz``. A Shannon link keeps
        its transmit power whatever the width, so a narrower band has a higher signal-to-noise ratio:
        ``share * B * log2(1 + P * g / (N0 * share * B))`` (Shannon, 1948; the form used for uplink FDMA in wireless
        federated learning). A link of the client's own has its stated rate, whatever the share.
    """
    if isinstance(link, RatedLink):
        return link.uplink_bps if link.is_dedicated else max(0.0, share) * link.uplink_bps
    width_hz = share * radio.uplink_hz
    if width_hz <= 0:
        return 0.0
    if type(link) is FixedLink:
        return width_hz * link.uplink_bps_per_hz
    if type(link) is not ShannonLink:
        return _own_model(link).uplink_bps(radio, share)
    received_w = watts_from_dbm(link.transmit_power_dbm) * 10.0 ** (link.path_gain_db / 10.0)
    noise_w = watts_from_dbm(radio.noise_dbm_per_hz) * width_hz
    # log1p keeps its digits at a signal far below the noise, where log2(1 + x) would round to zero.
    return width_hz * math.log1p(received_w / noise_w) / math.log(2.0)


def downlink_rate_bps(link: AnyLink, radio: Radio, share: float) -> float:
    """Rate at which a client receives with a share of the downlink.

    Parameters
    ----------
    link
        The client's link.
    radio
        The spectrum all clients share.
    share
        Fraction of the downlink band, in [0, 1].

    Returns
    -------
    float
        bit/s; linear in the share for all link models, because the base station's power density is constant. A link of
        the client's own has its stated rate, whatever the share.
    """
    if isinstance(link, RatedLink):
        return link.downlink_bps if link.is_dedicated else max(0.0, share) * link.downlink_bps
    return max(0.0, share) * radio.downlink_hz * _own_model(link).downlink_bps_per_hz


def _own_model(link: AnyLink) -> LinkModel:
    if not isinstance(link, LinkModel):
        raise TypeError(f"found a link of {type(link).__name__}; needs one of a link model, which knows its rate")
    return link
