from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps, watts_from_dbm
from hybridsplit.scenarios.schema import FixedLink, Radio, ShannonLink

FIXED = Radio(link_model="fixed", uplink_hz=20e6, downlink_hz=10e6)
SHANNON = Radio(link_model="shannon", uplink_hz=1e6, downlink_hz=10e6, noise_dbm_per_hz=-174.0)
FIXED_LINK = FixedLink(uplink_bps_per_hz=2.5, downlink_bps_per_hz=5.0)
SHANNON_LINK = ShannonLink(path_gain_db=-110.0, transmit_power_dbm=20.0, downlink_bps_per_hz=5.0)


def test_a_fixed_link_is_linear_in_its_share():
    assert uplink_rate_bps(FIXED_LINK, FIXED, 0.5) == 25e6
    assert downlink_rate_bps(FIXED_LINK, FIXED, 0.25) == 12.5e6
    assert downlink_rate_bps(SHANNON_LINK, SHANNON, 0.25) == 12.5e6


def test_dbm_is_relative_to_a_milliwatt():
    assert watts_from_dbm(0.0) == pytest.approx(1e-3)
    assert watts_from_dbm(30.0) == pytest.approx(1.0)


def test_shannon_by_hand():
    # 100 mW over 110 dB of loss is 1e-12 W; the noise in 0.5 MHz is 10^-20.4 W/Hz * 5e5 Hz.
    snr = 1e-12 / (10**-20.4 * 5e5)
    assert uplink_rate_bps(SHANNON_LINK, SHANNON, 0.5) == pytest.approx(5e5 * math.log2(1 + snr), rel=1e-12)


@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0))
def test_a_narrow_shannon_share_is_worth_more_per_hertz(a, b):
    low, high = sorted((a, b))
    low_bps, high_bps = (uplink_rate_bps(SHANNON_LINK, SHANNON, share) for share in (low, high))
    assert low_bps <= high_bps * (1 + 1e-12)
    assert low_bps / low >= high_bps / high * (1 - 1e-12)


def test_no_share_is_no_rate():
    assert uplink_rate_bps(SHANNON_LINK, SHANNON, 0.0) == 0.0
    assert uplink_rate_bps(FIXED_LINK, FIXED, 0.0) == 0.0
    assert downlink_rate_bps(FIXED_LINK, FIXED, 0.0) == 0.0


def test_a_signal_far_below_the_noise_still_has_a_rate():
    faint = ShannonLink(path_gain_db=-320.0, downlink_bps_per_hz=1.0)
    assert 0 < uplink_rate_bps(faint, SHANNON, 1.0) < 1e-9
