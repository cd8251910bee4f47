"""Drawn links have the distributions of their closed forms, and nobody's depends on who else is there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.runtime.replay.generated_links import fading_gain, generated_link, path_gain_db, shadowing_db
from hybridsplit.runtime.replay.trace_files import scenario_traces
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.sections.traces import GeneratedTrace

RAYLEIGH: dict[str, Any] = {"fading": "rayleigh", "mean_snr_db": 10.0, "block_s": 0.1, "duration_s": 2000.0}


def drawn(**changes: Any) -> GeneratedTrace:
    return GeneratedTrace(**{**RAYLEIGH, **changes})


SEEDS = range(30)


def assert_drawn_from(distribution: Any, of_seed: Callable[[int], np.ndarray]) -> None:
    """Of right distributions p-values are uniform over seeds; of wrong ones they gather at zero."""
    pvalues = [stats.kstest(of_seed(seed), distribution).pvalue for seed in SEEDS]
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_rayleigh_gains_are_exponential_of_mean_one() -> None:
    assert fading_gain(drawn(), 1, "pi-0").mean() == pytest.approx(1.0, abs=0.03)
    assert_drawn_from("expon", lambda seed: fading_gain(drawn(duration_s=200.0), seed, "pi-0"))


@pytest.mark.parametrize("k_db", [-10.0, 0.0, 6.0, 15.0])
def test_rician_gains_are_noncentral_chi_squared_of_mean_one(k_db: float) -> None:
    gains = fading_gain(drawn(fading="rician", rician_k_db=k_db), 2, "pi-0")
    ratio = 10 ** (k_db / 10)
    assert gains.mean() == pytest.approx(1.0, abs=0.03)
    assert gains.var() == pytest.approx((1 + 2 * ratio) / (1 + ratio) ** 2, rel=0.06)
    short = drawn(fading="rician", rician_k_db=k_db, duration_s=200.0)
    expected = stats.ncx2(df=2, nc=2 * ratio).cdf
    assert_drawn_from(expected, lambda seed: 2 * (ratio + 1) * fading_gain(short, seed, "pi-0"))


@pytest.mark.parametrize("snr_db", [-10.0, 5.0, 25.0])
def test_the_mean_over_rayleigh_is_the_ergodic_capacity(snr_db: float) -> None:
    snr = 10 ** (snr_db / 10)
    expected = math.exp(1 / snr) * special.exp1(1 / snr) / math.log(2)
    trace = generated_link(drawn(mean_snr_db=snr_db), 3, "pi-0").both
    assert trace is not None
    assert trace.mean_bps == pytest.approx(expected, rel=0.02)
    assert trace.is_per_hertz
    assert trace.duration_s == pytest.approx(2000.0)


def test_without_fading_a_link_has_the_capacity_of_its_mean() -> None:
    trace = generated_link(drawn(fading="none", duration_s=10.0), 3, "pi-0").both
    assert trace is not None
    assert trace.rates_bps == pytest.approx(math.log2(11.0))


def test_shadowing_is_normal_in_decibels_and_forgets_exponentially() -> None:
    wanted = drawn(shadowing_db=8.0, shadowing_coherence_s=1.0, duration_s=20_000.0)
    found = shadowing_db(wanted, 4, "pi-0")
    # Ten times the coherence apart, values are as good as independent.
    assert_drawn_from("norm", lambda seed: shadowing_db(wanted, seed, "pi-0")[::100] / 8.0)
    for lag in (1, 5, 10, 20):
        expected = math.exp(-lag * 0.1)
        assert np.mean(found[:-lag] * found[lag:]) / 64.0 == pytest.approx(expected, abs=0.04)


def test_the_mean_moves_with_the_distance_there_and_back() -> None:
    wanted = drawn(fading="none", distances_m=(100.0, 200.0), path_loss_exponent=3.0, duration_s=100.0)
    gain_db = path_gain_db(wanted)
    assert gain_db[0] == pytest.approx(0.0, abs=0.05)
    assert gain_db.min() == pytest.approx(-30 * math.log10(2.0), abs=0.05)
    assert gain_db == pytest.approx(gain_db[::-1])
    assert np.argmin(gain_db) in (len(gain_db) // 2 - 1, len(gain_db) // 2)
    assert path_gain_db(drawn(distances_m=(50.0,))) == pytest.approx(0.0)


def scenario_of(*more: str) -> Any:
    trace = "{fading: rician, rician_k_db: 6, mean_snr_db: 12, shadowing_db: 4, duration_s: 20 s, block_s: 100 ms}"
    return load_scenario("quickstart", [f"clients.pi4.link.trace={trace}", f"clients.pi5.link.trace={trace}", *more])


def test_nobodys_link_depends_on_who_else_is_there() -> None:
    some, more = scenario_traces(scenario_of()), scenario_traces(scenario_of("clients.pi4.count=4"))
    assert set(some) < set(more)
    for client, trace in some.items():
        assert np.array_equal(trace.rates_bps, more[client].rates_bps)
    rates = [tuple(trace.rates_bps) for trace in more.values()]
    assert len(set(rates)) == len(rates)
    assert np.corrcoef([trace.rates_bps for trace in more.values()])[0, 1:] == pytest.approx(0.0, abs=0.45)
    other_seed = scenario_traces(scenario_of("seed=99"))
    assert all(not np.array_equal(trace.rates_bps, other_seed[client].rates_bps) for client, trace in some.items())


def test_shadowing_does_not_move_the_fading() -> None:
    plain, shadowed = (fading_gain(drawn(shadowing_db=level), 5, "pi-0") for level in (0.0, 6.0))
    assert np.array_equal(plain, shadowed)


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ("{fading: rician, mean_snr_db: 9}", "rician_k_db: needed for fading: rician"),
        ("{fading: rayleigh, rician_k_db: 3, mean_snr_db: 9}", "rician_k_db: belongs to fading: rician"),
        ("{fading: rayleigh}", r"clients.0.link.trace.mean_snr_db: this key is needed and absent"),
        ("{fading: nakagami, mean_snr_db: 9}", r"clients.0.link.trace.fading: found 'nakagami'; needs one of none"),
        ("{fading: rayleigh, mean_snr_db: 9, block_s: 1 ms, duration_s: 1 h}", "3,600,000 blocks"),
        ("{fading: rayleigh, mean_snr_db: 9, block_s: 1.0e-300, duration_s: 1.0e+300}", "inf blocks"),
        ("{fading: rayleigh, mean_snr_db: 9, distances_m: [1.0e-9, 5]}", r"distances_m.0: found 1e-09; needs a number"),
        ("{fading: rayleigh, mean_snr_db: 9, shadowing_coherence_s: 0 s}", "shadowing_coherence_s: needs a time above"),
        ("{fading: rayleigh, mean_snr_db: 9, block_s: 2 s, duration_s: 1 s}", "no longer than duration_s"),
        ("{fading: rayleigh, mean_snr_db: 9, mean_snr: 9}", r"unknown key 'mean_snr'; did you mean 'mean_snr_db'"),
    ],
)
def test_what_a_drawn_link_lacks_is_named(trace: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        load_scenario("quickstart", [f"clients.pi4.link.trace={trace}"])


def test_drawn_links_that_would_fill_the_memory_are_refused() -> None:
    scenario = scenario_of("clients.pi4.count=90_000", "clients.pi4.link.trace.duration_s=60 s")
    with pytest.raises(ScenarioError, match=r"clients.0.link.trace: .* blocks up to here; needs at most 20,000,000"):
        scenario_traces(scenario)
    with pytest.raises(ScenarioError, match=r"clients.0.link.trace: .*needs band_hz"):
        scenario_traces(scenario_of(), absolute=True)


def test_a_plan_is_replayed_over_drawn_links(tmp_path: Path) -> None:
    def done(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
        return result.stdout

    plan = str(tmp_path / "plan.json")
    trace = "clients.pi4.link.trace={fading: rayleigh, mean_snr_db: 5, duration_s: 60 s}"
    done("plan", "quickstart", "--set", trace, "--out", plan)
    shown = done("replay", plan, "--rounds", "20")
    for needle in ("bit/s per Hz on average, scaled to the plan's own means", "p99", "distinct windows"):
        assert needle in shown
    found = json.loads(done("replay", plan, "--rounds", "20", "--json"))
    assert found["round_latencies"]["mean"]["seconds"] > found["round_latency_planned_s"]
