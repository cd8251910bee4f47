"""A plan for recorded links is the best of several over windows of the recordings, and is judged on others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hybridsplit.orchestrator.cli import app
from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.orchestrator.recorded.choice import plan_for_recordings
from hybridsplit.orchestrator.recorded.rounds import RecordedRounds, statistic_of
from hybridsplit.orchestrator.recorded.stretched import stretched_table, stretches
from hybridsplit.orchestrator.run_folder import open_plan
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay.link_trace import LinkTrace
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.scenarios.errors import ScenarioError, UsageError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan

WINDOWS = 12
RECORDED = ["objective.links=recorded", f"objective.windows={WINDOWS}", "training.local_steps=1"]


def a_link(seed: int, outage: float = 0.0) -> BandwidthTrace:
    """A link that changes every half second, and is dead for a part of the time."""
    generator = np.random.default_rng(seed)
    rates = generator.gamma(2.0, 2e6, 600) * (generator.random(600) >= outage)
    return BandwidthTrace(np.full(600, 0.5), rates, name=f"link {seed}")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("quickstart", [*RECORDED, "objective.statistic=p95"])


@pytest.fixture(scope="module")
def table(scenario: Scenario) -> OptionTable:
    return profile_scenario(scenario)


@pytest.fixture(scope="module")
def traces(scenario: Scenario) -> dict[str, BandwidthTrace]:
    ids = [client.id for client in scenario.expanded_clients()]
    return {name: a_link(place, outage=0.3 if place == 1 else 0.0) for place, name in enumerate(ids)}


@pytest.mark.slow
def test_the_choice_is_no_worse_than_the_plan_for_constant_links_and_its_figures_are_those_of_replays(
    scenario: Scenario, table: OptionTable, traces: dict[str, BandwidthTrace]
) -> None:
    plan, again = (plan_for_recordings(scenario, table, traces) for _ in range(2))
    assert (plan.clients, plan.schedule, plan.recorded) == (again.clients, again.schedule, again.recorded)
    nominal = make_plan(scenario, table)
    rounds, choice = RecordedRounds(scenario, traces), plan.recorded
    assert choice is not None
    assert (choice.statistic, choice.windows, plan.strategy) == ("p95", WINDOWS, "optimal")
    assert choice.candidates >= 10
    chosen_by = rounds.choose_by(plan).objective_s
    assert choice.in_sample_s == statistic_of(chosen_by, "p95")
    assert choice.in_sample_s <= statistic_of(rounds.choose_by(nominal).objective_s, "p95")
    judged = rounds.judge(plan).objective_s
    assert choice.out_of_sample_s == choice.out_of_sample_p95_s == statistic_of(judged, "p95")
    assert choice.out_of_sample_p50_s == np.median(judged)
    assert choice.nominal_s == statistic_of(rounds.judge(nominal).objective_s, "p95")
    # Its bounds are those of constant links, where no plan is better than the proven one.
    assert plan.schedule_lower_bound_s == pytest.approx(nominal.schedule_lower_bound_s)
    assert plan.objective_s >= nominal.schedule_lower_bound_s
    assert any("Chosen for recorded links" in note for note in plan.notes)


def test_few_windows_are_the_first_of_many_and_none_judges_that_chooses(
    scenario: Scenario, table: OptionTable, traces: dict[str, BandwidthTrace]
) -> None:
    plan, rounds = make_plan(scenario, table, "greedy"), RecordedRounds(scenario, traces)
    played = rounds.choose_by(plan)
    assert rounds.choose_by(plan, 3).objective_s.tolist() == played.objective_s.tolist()[:3]
    assert not set(played.objective_s.tolist()) & set(rounds.judge(plan).objective_s.tolist())
    assert set(played.slowest) <= set(traces)


def test_over_links_that_never_change_the_plan_for_constant_links_is_kept(
    scenario: Scenario, table: OptionTable, traces: dict[str, BandwidthTrace]
) -> None:
    flat = {name: BandwidthTrace(np.array([5.0]), np.array([1e6])) for name in traces}
    plan, nominal = plan_for_recordings(scenario, table, flat), make_plan(scenario, table)
    assert plan.recorded is not None
    assert plan.recorded.in_sample_s == pytest.approx(min(nominal.objective_s, plan.objective_s), rel=1e-9)
    assert plan.recorded.out_of_sample_s == pytest.approx(plan.recorded.in_sample_s, rel=1e-9)


def test_transfers_are_stretched_by_as_much_as_the_recording_is_slow(
    scenario: Scenario, table: OptionTable, traces: dict[str, BandwidthTrace]
) -> None:
    plan = make_plan(scenario, table)
    flat = BandwidthTrace(np.array([5.0, 5.0]), np.array([1e6, 1e6]))
    names = [client.id for client in plan.clients]
    found = stretches(scenario, plan, {names[0]: flat, names[1]: a_link(9, outage=0.5)})
    assert set(found) == set(names[:2])
    np.testing.assert_allclose(found[names[0]], 1.0)
    assert found[names[1]].mean() > 1.2
    larger = stretched_table(table, {names[0]: (2.0, 3.0)}).table
    own = (larger["client"] == names[0]).to_numpy()
    for column, factor in (("uplink_bytes", 2.0), ("model_upload_bytes", 2.0), ("downlink_bytes", 3.0)):
        assert larger.loc[own, column].tolist() == (table.table.loc[own, column] * factor).tolist()
        assert larger.loc[~own, column].tolist() == table.table.loc[~own, column].tolist()


def test_who_has_no_time_takes_the_plan_for_constant_links(
    scenario: Scenario, table: OptionTable, traces: dict[str, BandwidthTrace]
) -> None:
    plan = plan_for_recordings(scenario, table, traces, time_limit_s=0.0)
    assert plan.recorded is not None
    assert plan.recorded.out_of_sample_s == plan.recorded.nominal_s
    assert plan.recorded.candidates == 1


def test_other_strategies_have_one_plan_whatever_links_do(scenario: Scenario, table: OptionTable) -> None:
    plan = plan_as_asked(scenario, table, "greedy")
    assert plan.recorded is None
    assert plan.clients == make_plan(scenario, table, "greedy").clients


def test_what_recordings_cannot_decide_is_refused(scenario: Scenario, table: OptionTable, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no client has a recording"):
        plan_as_asked(scenario, table, "optimal")
    with pytest.raises(UsageError, match="recordings decide nothing here"):
        plan_as_asked(load_scenario("quickstart"), table, "optimal", recordings=tmp_path)
    with pytest.raises(UsageError, match="fixed"):
        plan_as_asked(scenario, table, "optimal", fixed={"phone-0": (1, "fo")})
    with pytest.raises(ScenarioError, match=r"objective.*energy is minimised"):
        load_scenario("quickstart", ["objective.minimise=energy", *RECORDED])


@pytest.mark.slow
def test_the_command_plans_replays_and_says_what_it_chose(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    for place in range(6):
        trace = a_link(place, outage=0.2)
        rows = zip(np.cumsum(trace.durations_s).tolist(), (trace.rates_bps / 1e6).tolist(), strict=True)
        text = "time_s,ul_mbps,dl_mbps\n" + "".join(f"{time_s},{rate},{rate}\n" for time_s, rate in rows)
        (folder / f"{place}.csv").write_text(text, encoding="utf-8")
    out = tmp_path / "plan.json"
    sets = [part for key in RECORDED for part in ("--set", key)]
    common = ["plan", "quickstart", *sets, "--traces", str(folder), "--out", str(out)]
    shown = CliRunner().invoke(app, common)
    assert shown.exit_code == 0, shown.stderr
    assert "Chosen for recorded links" in shown.stdout
    plan, _ = open_plan(out)
    assert plan.recorded is not None
    replayed = CliRunner().invoke(app, ["replay", str(out), "--traces", str(folder), "--rounds", "20", "--json"])
    assert replayed.exit_code == 0, replayed.stderr
    assert json.loads(replayed.stdout)["round_latencies"]["p50"]["seconds"] > 0
    without = CliRunner().invoke(app, ["plan", "quickstart", *sets])
    assert without.exit_code == 2
    assert "objective.links" in without.stderr


def test_fades_are_part_of_what_is_chosen(
    scenario: Scenario, table: OptionTable, traces: dict[str, BandwidthTrace]
) -> None:
    plan = make_plan(scenario, table)
    assert isinstance(plan.schedule, Dispatch)
    rounds = RecordedRounds(scenario, traces)
    changed = plan.model_copy(update={"schedule": plan.schedule.model_copy(update={"fade_below": 0.0})})
    assert rounds.choose_by(plan).objective_s.tolist() != rounds.choose_by(changed).objective_s.tolist()


def test_links_that_are_always_slower_than_stated_get_the_plan_that_is_best_on_them(
    scenario: Scenario, table: OptionTable, traces: dict[str, BandwidthTrace]
) -> None:
    """Every window agrees, so that another plan than the one for constant links is surely better."""
    slow = BandwidthTrace(np.array([5.0, 5.0]), np.array([2e5, 2e5]), name="slow")
    absolute = LinkTrace(slow.durations_s, slow.rates_bps, uplink=slow, downlink=slow, takes_recorded_rates=True)
    recorded = dict.fromkeys(traces, absolute)
    plan = plan_for_recordings(scenario, table, recorded)
    nominal = make_plan(scenario, table)
    assert plan.recorded is not None
    assert plan.recorded.chosen != "the best plan for constant links"
    assert [client.key for client in plan.clients] != [client.key for client in nominal.clients]
    assert plan.recorded.out_of_sample_s < 0.9 * plan.recorded.nominal_s
