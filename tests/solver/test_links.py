"""What is particular to the two link models that ship; their contract is in tests/contracts/test_link_models.py."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.problem.links import downlink_bps, uplink_work
from hybridsplit.solver.problem.shannon_link import _snr_where
from hybridsplit.testing.instances import group, make_scenario


@pytest.mark.parametrize("bend_decades", [None, (-6.0, 0.0), (0.0, 6.0)])
def test_the_root_is_found_over_the_whole_range_of_signals(bend_decades: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(1)
    snr = 10 ** rng.uniform(-5, 14, 4000)
    log = np.log1p(snr)
    gain, first = snr / log, (log - snr / (1 + snr)) / log**2
    bend = 0.0 if bend_decades is None else 10 ** rng.uniform(*bend_decades, snr.shape)
    target = gain + bend * snr * np.sqrt(first)
    found = _snr_where(target, np.ones_like(snr), bend)[0]
    # Next to no signal the target differs from its least value by rounding.
    np.testing.assert_allclose(found, snr, rtol=2e-9)


def test_fixed_rate_is_share_times_band_times_efficiency() -> None:
    scenario = make_scenario(
        [group("a") | {"link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0}}], uplink_hz=5e6
    )
    uplink = uplink_work(scenario.radio, scenario.expanded_clients(), np.array([0]), np.array([1e6]))
    assert uplink.seconds(0.5) == pytest.approx(1e6 / (0.5 * 5e6 * 2.0))
    assert downlink_bps(scenario.radio, scenario.expanded_clients()) == pytest.approx(4.0 * 10e6)


def test_shannon_rate_keeps_the_device_power() -> None:
    link = {"path_gain_db": -100.0, "downlink_bps_per_hz": 4.0, "transmit_power_dbm": 20.0}
    scenario = make_scenario([group("a", link_model="shannon") | {"link": link}], link_model="shannon", uplink_hz=5e6)
    uplink = uplink_work(scenario.radio, scenario.expanded_clients(), np.array([0]), np.array([1e6]))
    band_hz = 0.1 * 5e6
    snr = 0.1 * 1e-10 / (10 ** ((-174 - 30) / 10) * band_hz)
    assert uplink.seconds(0.1) == pytest.approx(1e6 / (band_hz * np.log2(1 + snr)))


def test_a_zero_band_carries_nothing() -> None:
    for link_model in ("fixed", "shannon"):
        document = make_scenario([group("a", link_model=link_model)], link_model=link_model).model_dump(mode="json")
        document["radio"]["uplink_hz"] = 0
        scenario = validate_scenario(document, "test")
        uplink = uplink_work(scenario.radio, scenario.expanded_clients(), np.array([0, 0]), np.array([1e6, 0.0]))
        assert uplink.seconds(1.0).tolist() == [np.inf, 0.0]
