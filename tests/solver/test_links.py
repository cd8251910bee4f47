"""One contract for every uplink model, and for the priced cost built on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.problem.costs import AnySchedule, StaticShares, Work
from hybridsplit.solver.problem.links import FixedUplink, UplinkWork, downlink_bps, uplink_work
from hybridsplit.solver.problem.shannon_link import ShannonUplink, _snr_where
from tests.solver.instances import group, make_scenario

SIZE = 64


def draw_uplink(kind: str, seed: int) -> UplinkWork:
    rng = np.random.default_rng(seed)
    if kind == "fixed":
        return FixedUplink(10 ** rng.uniform(-6, 6, SIZE))
    return ShannonUplink(10 ** rng.uniform(-6, 6, SIZE), 10 ** rng.uniform(-1, 7, SIZE))


def draw_work(kind: str, seed: int) -> Work:
    rng = np.random.default_rng([seed, 1])
    present = [rng.random(SIZE) < 0.8 for _ in range(3)]
    return Work(
        10 ** rng.uniform(-3, 3, SIZE) * present[0],
        draw_uplink(kind, seed),
        10 ** rng.uniform(-3, 3, SIZE) * present[1],
        10 ** rng.uniform(-3, 3, SIZE) * present[2],
    )


every_link = pytest.mark.parametrize("kind", ["fixed", "shannon"])
some_seeds = given(st.integers(0, 10_000))
few = settings(max_examples=25, deadline=None)


@every_link
@few
@some_seeds
def test_share_in_inverts_seconds(kind: str, seed: int) -> None:
    uplink = draw_uplink(kind, seed)
    share = 10 ** np.random.default_rng([seed, 2]).uniform(-5, 0, SIZE)
    duration_s = uplink.seconds(share)
    np.testing.assert_allclose(uplink.share_in(duration_s)[0], share, rtol=1e-6)


@every_link
@few
@some_seeds
def test_derivatives_match_differences(kind: str, seed: int) -> None:
    uplink = draw_uplink(kind, seed)
    duration_s = uplink.seconds(10 ** np.random.default_rng([seed, 2]).uniform(-3, 0, SIZE))
    step = duration_s * 1e-5
    above, below = uplink.share_in(duration_s + step), uplink.share_in(duration_s - step)
    _, first, second = uplink.share_in(duration_s)
    np.testing.assert_allclose((above[0] - below[0]) / (2 * step), first, rtol=2e-3)
    np.testing.assert_allclose((above[1] - below[1]) / (2 * step), second, rtol=2e-2)


@every_link
def test_durations_fall_and_are_convex(kind: str) -> None:
    uplink = draw_uplink(kind, 0)
    durations = np.stack([uplink.seconds(share) for share in np.linspace(0.01, 1, 100)])
    assert np.all(np.diff(durations, axis=0) < 0)
    assert np.all(np.diff(durations, n=2, axis=0) > -1e-9 * durations[1:-1])


@every_link
def test_idle_transfers_take_no_time_and_no_share(kind: str) -> None:
    zero = np.zeros(3)
    uplink: UplinkWork = FixedUplink(zero) if kind == "fixed" else ShannonUplink(zero, np.ones(3))
    assert uplink.is_idle.all()
    assert np.all(uplink.seconds(0.0) == 0)
    assert np.all(np.stack(uplink.share_in(np.ones(3))) == 0)
    balance = uplink.balance(np.array(1.0), np.ones(3), np.ones(3))
    assert np.all(balance.duration_s == 0)
    assert np.all(balance.share == 0)


@every_link
@few
@some_seeds
def test_priced_cost_is_the_cheapest_way_to_be_in_time(kind: str, seed: int) -> None:
    work, rng = draw_work(kind, seed), np.random.default_rng([seed, 3])
    prices = 10 ** rng.uniform(-3, 0, 3)
    deadline_s = work.latency_s(1.0) * rng.uniform(1.01, 50, SIZE)
    priced = StaticShares().price(work, prices, deadline_s, curvature=True)
    shares = np.stack(priced.usage, axis=-1)
    assert np.all(work.latency_s(shares) <= deadline_s * (1 + 1e-9))
    np.testing.assert_allclose(shares @ prices, priced.value, rtol=1e-9)
    for _ in range(10):
        # Any other shares that are in time cost at least as much.
        other = shares * 10 ** rng.normal(0, 0.2, shares.shape)
        grown = other[None] * np.linspace(1, 12, 200)[:, None, None]
        in_time = work.latency_s(grown) <= deadline_s
        cost = np.where(in_time, grown @ prices, np.inf).min(axis=0)
        assert np.all(cost >= priced.value * (1 - 1e-9))


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


@every_link
@few
@some_seeds
def test_schedule_cost_never_exceeds_static_cost(kind: str, seed: int) -> None:
    work, rng = draw_work(kind, seed), np.random.default_rng([seed, 4])
    prices = 10 ** rng.uniform(-3, 0, 3)
    deadline_s = work.latency_s(1.0) * rng.uniform(1.01, 50, SIZE)
    static = StaticShares().price(work, prices, deadline_s).value
    assert np.all(AnySchedule().price(work, prices, deadline_s).value <= static * (1 + 1e-9))


@every_link
@few
@some_seeds
def test_cost_derivatives_match_differences(kind: str, seed: int) -> None:
    work, rng = draw_work(kind, seed), np.random.default_rng([seed, 5])
    prices = 10 ** rng.uniform(-1, 0, 3)
    deadline_s = work.latency_s(1.0) * rng.uniform(1.5, 20, SIZE)
    priced = StaticShares().price(work, prices, deadline_s, curvature=True)
    order = {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 1): 3, (1, 2): 4, (2, 2): 5}
    for r in range(3):
        step = 1e-5 * prices[r] * np.eye(3)[r]
        above, below = (StaticShares().price(work, prices + s * step, deadline_s) for s in (1, -1))
        difference = (above.value - below.value) / (2 * step[r])
        assert np.all(np.abs(difference - priced.usage[r]) <= 1e-6 * (priced.usage[r] + priced.value / prices[r]))
        for q in range(3):
            second = (above.usage[q] - below.usage[q]) / (2 * step[r])
            exact = priced.curvature[order[min(r, q), max(r, q)]]
            assert np.all(np.abs(second - exact) <= 1e-3 * (np.abs(exact) + priced.usage[q] / prices[r]))
    step_s = 1e-6 * (deadline_s - work.compute_s)
    later, sooner = (StaticShares().price(work, prices, deadline_s + s * step_s).value for s in (1, -1))
    np.testing.assert_allclose((later - sooner) / (2 * step_s), priced.slope, rtol=1e-4)


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
