"""How the radio is divided, against a scheduler of slots and blocks, closed forms, and what is known of fading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay.allocation import EqualParts, EqualRates, FloatArray, ProportionalFair, Rule
from hybridsplit.runtime.replay.generated_links import generated_link
from hybridsplit.runtime.replay.speeds import ConstantSpeed
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.sections.traces import GeneratedTrace
from tests.runtime.replay.queues import Arrivals, SlottedCell, along, ends_s

RULES = ("round-robin", "max-min", "proportional-fair")


def rule_of(name: str, num_clients: int, averaging_s: float) -> Rule:
    if name == "proportional-fair":
        return ProportionalFair(num_clients, averaging_s)
    return EqualRates() if name == "max-min" else EqualParts()


def at_once(amounts: list[float]) -> Arrivals:
    return Arrivals(np.zeros(len(amounts)), np.array(amounts))


def faded(seed: int, num_clients: int, block_s: float, num_blocks: int) -> list[BandwidthTrace]:
    """Rates that are drawn anew from block to block, some of them zero."""
    rng = np.random.default_rng(seed)
    return [
        BandwidthTrace(
            np.full(num_blocks, block_s), rng.choice([0.0, 1.0, 3.0, 10.0], num_blocks) * 1e5 + 1e4 * (n % 2)
        )
        for n in range(num_clients)
    ]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("slot_s", "blocks"), [(1e-3, 12), pytest.param(1e-4, 1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [1, 2])
def test_over_changing_links_it_is_the_limit_of_slots_and_blocks(
    rule: str, slot_s: float, blocks: int, seed: int
) -> None:
    """Ends of transfers, to what a few slots carry: over two hundred times as long, and four changes a transfer."""
    rng = np.random.default_rng(seed)
    traces, averaging_s = faded(seed, 4, 0.1, 40), 0.2
    arrivals = Arrivals(np.sort(rng.uniform(0, 0.3, 4)), rng.uniform(2e4, 8e4, 4))
    found_s, _ = ends_s(rule_of(rule, 4, averaging_s), arrivals, along(traces, arrivals.times_s.tolist()))

    def rates(now_s: float) -> FloatArray:
        return np.array([trace.rates_bps[int(now_s / 0.1 + 1e-9) % 40] for trace in traces])

    wanted_s = SlottedCell(rule, slot_s, blocks, averaging_s).run(arrivals, rates)
    assert np.abs(found_s - wanted_s).max() < 0.02 * wanted_s.max()


@pytest.mark.parametrize("rule", RULES)
def test_over_constant_links_it_is_within_a_few_slots(rule: str) -> None:
    rates_bps, averaging_s = np.array([1e5, 2e5, 5e5]), 0.1
    arrivals = Arrivals(np.array([0.0, 0.05, 0.1]), np.array([4e4, 4e4, 9e4]))
    speeds = [ConstantSpeed(rate) for rate in rates_bps.tolist()]
    found_s, _ = ends_s(rule_of(rule, 3, averaging_s), arrivals, speeds)
    for slot_s in (1e-2, 2e-3, 4e-4):
        wanted_s = SlottedCell(rule, slot_s, 1, averaging_s).run(arrivals, lambda _: rates_bps)
        assert np.abs(wanted_s - found_s).max() < 4 * slot_s


def test_two_clients_in_closed_form() -> None:
    """Sizes a and b at whole-band rates R and S, from the same moment on."""
    speeds = [ConstantSpeed(1e6), ConstantSpeed(4e6)]
    arrivals = at_once([2e6, 4e6])  # 2 s and 1 s alone
    equal_time, used_s = ends_s(EqualParts(), arrivals, speeds)
    assert equal_time == pytest.approx([3.0, 2.0])
    assert used_s == pytest.approx([2.0, 1.0])
    # Equal rates of 0.8 Mbit/s until the first is through, which leaves 2 Mbit at 4 Mbit/s.
    equal_rates, used_s = ends_s(EqualRates(), arrivals, speeds)
    assert equal_rates == pytest.approx([2.5, 3.0])
    assert used_s == pytest.approx([2.0, 1.0])
    # At constant rates and from empty averages, proportional fairness is equal time.
    for averaging_s in (0.01, 1.0, 100.0):
        assert ends_s(ProportionalFair(2, averaging_s), arrivals, speeds)[0] == pytest.approx(equal_time)


def test_a_newcomer_is_served_alone_until_its_average_is_that_of_the_others() -> None:
    """By the water level: after 2 s the first has v = 1 - exp(-2/tau), and 0 is level with it after tau log(1 + v)."""
    tau_s = 2.0
    speeds = [ConstantSpeed(1.0), ConstantSpeed(5.0)]
    alone_s = tau_s * np.log1p(1 - np.exp(-2.0 / tau_s))
    arrivals = Arrivals(np.array([0.0, 2.0]), np.array([100.0, 5.0 * alone_s]))
    assert ends_s(ProportionalFair(2, tau_s), arrivals, speeds)[0][1] == pytest.approx(2.0 + alone_s, rel=1e-5)
    longer = Arrivals(arrivals.times_s, arrivals.amounts + np.array([0.0, 5.0]))
    assert ends_s(ProportionalFair(2, tau_s), longer, speeds)[0][1] == pytest.approx(2.0 + alone_s + 2.0, rel=1e-5)


def test_late_on_the_clock_ties_are_still_reached() -> None:
    """At 1e9 s the clock tells 0.1 us apart, and averages over 1 ms are tied more often than that."""
    arrivals = Arrivals(np.array([1e9, 1e9 + 0.5]), np.array([2.0, 0.5]))
    speeds = [ConstantSpeed(1.0), ConstantSpeed(3.0)]
    done_s, used_s = ends_s(ProportionalFair(2, 1e-3), arrivals, speeds)
    assert used_s == pytest.approx([2.0, 0.5 / 3], rel=1e-3)
    assert done_s[0] - 1e9 == pytest.approx(2.0 + 0.5 / 3, rel=1e-3)


def throughput_gain(averaging_s: float, num_clients: int, num_blocks: int) -> float:
    """What clients on Rayleigh links of low SNR carry together, over what one carries alone on average."""
    block_s = 0.1
    wanted = GeneratedTrace(fading="rayleigh", mean_snr_db=-30, block_s=block_s, duration_s=num_blocks * block_s)
    traces = []
    for n in range(num_clients):
        both = generated_link(wanted, 3, f"client-{n}").both
        assert both is not None
        traces.append(both)
    mean_bps = float(np.mean([trace.mean_bps for trace in traces]))
    amounts = [0.9 * num_blocks * block_s * mean_bps / num_clients] * num_clients
    done_s, _ = ends_s(ProportionalFair(num_clients, averaging_s), at_once(amounts), along(traces, [0.0] * num_clients))
    return float(sum(amounts) / done_s.max() / mean_bps)


def test_over_rayleigh_fading_the_gain_is_the_harmonic_number() -> None:
    """At low SNR rates are exponential, and the largest of K is H_K = 1 + 1/2 + ... + 1/K times the mean.

    So it is for averages over many blocks; averages over far less than a block forget all, which leaves equal time.
    """
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert throughput_gain(10.0, 4, 4000) == pytest.approx(harmonic, rel=0.05)
    assert throughput_gain(0.002, 4, 600) == pytest.approx(1.0, rel=0.06)


@st.composite
def cells(draw: st.DrawFn) -> tuple[Arrivals, list[BandwidthTrace], float]:
    number = draw(st.integers(1, 5))
    some = st.sampled_from([0.0, 1.0, 2.0, 1e3])
    traces = []
    for _ in range(number):
        rates = [*draw(st.lists(some, min_size=1, max_size=4)), draw(st.sampled_from([1.0, 7.0]))]
        lengths = draw(st.lists(st.sampled_from([0.1, 1 / 3, 2.0]), min_size=len(rates), max_size=len(rates)))
        traces.append(BandwidthTrace(np.array(lengths), np.array(rates), offset_s=draw(st.sampled_from([0.0, 0.7]))))
    times = np.cumsum(draw(st.lists(st.sampled_from([0.0, 0.1, 1.7]), min_size=number, max_size=number)))
    amounts = draw(st.lists(st.sampled_from([1e-3, 1.0, 8.0, 20.0]), min_size=number, max_size=number))
    return Arrivals(times, np.array(amounts)), traces, draw(st.sampled_from([1e-3, 0.5, 100.0]))


@given(cell=cells())
# Ten and three stretches of 0.1 s at 1 bit/s: the last bit is through where an outage begins.
@example(cell=(at_once([1.0]), [BandwidthTrace(np.array([0.1, 0.1]), np.array([0.0, 1.0]))], 1e-3))
@example(cell=(at_once([0.3]), [BandwidthTrace(np.array([0.1, 0.1]), np.array([1.0, 0.0]))], 1e-3))
@settings(deadline=None, max_examples=25)
@pytest.mark.parametrize("rule", RULES)
def test_bits_arrive_once_and_no_sooner_than_alone(
    rule: str, cell: tuple[Arrivals, list[BandwidthTrace], float]
) -> None:
    """Whatever the recordings, zeros and repeats among them: nobody is faster than alone, and no more than the whole
    resource is used."""
    arrivals, traces, averaging_s = cell
    number = len(traces)
    done_s, used_s = ends_s(rule_of(rule, number, averaging_s), arrivals, along(traces, arrivals.times_s.tolist()))
    alone_s = np.array(
        [
            time_s + trace.transfer(amount, time_s).elapsed_s
            for trace, time_s, amount in zip(traces, arrivals.times_s.tolist(), arrivals.amounts.tolist(), strict=True)
        ]
    )
    assert (done_s >= alone_s - 1e-9 * done_s.max()).all()
    assert (used_s <= done_s - arrivals.times_s + 1e-9 * done_s.max()).all()
    assert used_s.sum() <= done_s.max() - arrivals.times_s.min() + 1e-9 * done_s.max()
    if number == 1:
        assert done_s == pytest.approx(alone_s, rel=1e-9)


@given(rates=st.lists(st.floats(1e3, 1e9), min_size=1, max_size=8), zeros=st.integers(0, 3))
def test_equal_rates_are_equal_and_the_most_that_is_possible(rates: list[float], zeros: int) -> None:
    speeds = np.array(rates + [0.0] * zeros)
    parts = EqualRates().parts(np.arange(len(speeds)), speeds).of_each
    achieved = (parts * speeds)[: len(rates)]
    assert achieved == pytest.approx(np.full(len(rates), 1 / np.sum(1 / np.array(rates))), rel=1e-9)
    assert parts.sum() == pytest.approx(1.0)
    assert not parts[len(rates) :].any()
