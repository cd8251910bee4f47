"""Rounds over recorded links are samples of the recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.recordings import spread
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.runtime.replay.windows import distinct_windows, draw_windows
from tests.runtime.replay.conftest import make_plan, make_scenario

CONSTANT = BandwidthTrace(np.array([7.0, 5.0]), np.array([3e6, 3e6]))
STEPS = BandwidthTrace(np.array([40.0, 20.0, 40.0]), np.array([4e6, 0.5e6, 2e6]))


def test_a_clients_windows_depend_on_nobody_else_and_on_no_number_of_rounds() -> None:
    alone, among = draw_windows({"b": STEPS}, 3, 4), draw_windows({"a": CONSTANT, "b": STEPS, "c": STEPS}, 3, 9)
    assert among["b"][:4] == alone["b"]
    assert among["b"] != among["c"]
    assert draw_windows({"b": STEPS}, 4, 4) != alone


@given(st.integers(0, 1000))
def test_windows_begin_inside_the_recording(seed: int) -> None:
    assert all(0 <= start_s < STEPS.duration_s for start_s in draw_windows({"a": STEPS}, seed, 20)["a"])


def test_every_round_is_what_a_single_round_over_its_window_is() -> None:
    scenario = make_scenario(2)
    plan = make_plan(scenario)
    ids = [client.id for client in plan.clients]
    traces = dict(zip(ids, (STEPS, STEPS.shifted(13.0)), strict=True))
    sampled = replay(plan, scenario, num_rounds=6, traces=traces, samples_windows=True)
    windows_s = draw_windows(traces, scenario.seed, 6)
    for index, latency_s in enumerate(sampled.round_latency_s):
        shifted = {name: trace.shifted(windows_s[name][index]) for name, trace in traces.items()}
        alone = replay(plan, scenario, num_rounds=1, traces=shifted)
        assert latency_s == pytest.approx(alone.total_s, rel=1e-9)
    assert sampled.distinct_windows == distinct_windows(traces.values(), sampled.total_s / 6) >= 1
    assert replay(plan, scenario, num_rounds=6, traces=traces).distinct_windows is None


def test_windows_of_a_constant_recording_change_nothing() -> None:
    scenario = make_scenario(2)
    plan = make_plan(scenario)
    traces = {client.id: CONSTANT for client in plan.clients}
    sampled = replay(plan, scenario, num_rounds=3, traces=traces, samples_windows=True)
    assert sampled.round_latency_s == pytest.approx(replay(plan, scenario, num_rounds=3).round_latency_s)


def test_rounds_do_not_lock_on_the_period() -> None:
    """Played in order, every third round meets the same bad spell; drawn, the mean is that of random starts."""
    scenario = make_scenario(1)
    plan = make_plan(scenario)
    (client,) = plan.clients
    round_s = replay(plan, scenario, num_rounds=1).total_s
    trace = BandwidthTrace(np.array([2.0 * round_s, round_s]), np.array([2e6, 1e5]))
    drawn = replay(plan, scenario, num_rounds=300, traces={client.id: trace}, samples_windows=True)
    starts_s = np.linspace(0, trace.duration_s, 301)[:-1]
    expected = np.mean(
        [replay(plan, scenario, num_rounds=1, traces={client.id: trace.shifted(s)}).total_s for s in starts_s]
    )
    assert np.mean(drawn.round_latency_s) == pytest.approx(expected, rel=0.1)


def test_recorded_rates_as_they_are_need_no_share() -> None:
    scenario = make_scenario(2)
    plan = make_plan(scenario)
    traces = {client.id: STEPS for client in plan.clients}
    absolute = [
        replay(make_plan(make_scenario(2)), scenario, num_rounds=1, traces=one, uses_recorded_rates=True).total_s
        for one in (traces, {name: BandwidthTrace(t.durations_s, t.rates_bps / 100) for name, t in traces.items()})
    ]
    assert absolute[1] > 10 * absolute[0]
    relative = replay(plan, scenario, num_rounds=1, traces=traces).total_s
    hundredth = {name: BandwidthTrace(t.durations_s, t.rates_bps / 100) for name, t in traces.items()}
    assert replay(plan, scenario, num_rounds=1, traces=hundredth).total_s == pytest.approx(relative, rel=1e-9)


def test_intervals_hold_the_true_quantiles_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    held = {"mean": 0, "p50": 0, "p90": 0}
    truth = {"mean": 1.0, "p50": np.log(2.0), "p90": np.log(10.0)}
    for seed in range(60):
        found = spread(generator.exponential(1.0, 150).tolist(), 500, seed)
        assert found is not None
        assert found.p50.seconds <= found.p90.seconds <= found.p95.seconds <= found.p99.seconds
        for name, value in truth.items():
            one = getattr(found, name)
            assert one.low_s <= one.seconds <= one.high_s
            held[name] += one.low_s <= value <= one.high_s
    assert min(held.values()) >= 50


def test_one_round_has_no_spread() -> None:
    assert spread([1.0], 3, 0) is None


def test_the_command_says_how_rounds_are_spread_and_at_what_rates(tmp_path: Path) -> None:
    plan_file, folder = tmp_path / "plan.json", tmp_path / "traces"
    folder.mkdir()
    for name, factor in (("a.txt", 1.0), ("b.txt", 2.0)):
        rows = [f"{second}\t{factor * (1 + second % 7)}" for second in range(60)]
        (folder / name).write_text("\n".join(rows), encoding="utf-8")

    def done(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
        return result.stdout

    done("plan", "quickstart", "--out", str(plan_file))
    common = ("replay", str(plan_file), "--traces", str(folder), "--rounds", "30")
    shown = done(*common)
    for needle in (
        "p50",
        "p99",
        "95 % intervals",
        "30 windows drawn",
        "without overlap",
        "traces of 3.9",
        "--absolute",
    ):
        assert needle in shown
    summary = json.loads(done(*common, "--json"))
    assert summary["round_latencies"]["mean"]["seconds"] == pytest.approx(summary["round_latency_replayed_s"])
    assert summary["round_latency_replayed_s"] == pytest.approx(summary["simulated_s"] / 30)
    in_order = json.loads(done(*common, "--json", "--in-order"))
    assert in_order["round_latencies"] is None
    slow = json.loads(done(*common, "--json", "--absolute"))
    assert slow["simulated_s"] != summary["simulated_s"]
    assert "taken as they are" in done(*common, "--absolute")
