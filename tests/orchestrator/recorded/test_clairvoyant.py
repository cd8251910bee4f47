"""The clairvoyant bound is below what any plan takes in the same window, and near it on constant links."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsplit.orchestrator.recorded.clairvoyant import Clairvoyant
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.runtime.replay.windows import draw_windows
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from tests.tiers import one_row_of

STRATEGIES = ("optimal", "static", "time-shared", "greedy", "splitfed")
ROUNDS = 5


def a_link(seed: int, *, sample_s: float, outage: float) -> BandwidthTrace:
    generator = np.random.default_rng(seed)
    rates = generator.gamma(1.0, 2e6, 400) * (generator.random(400) >= outage)
    return BandwidthTrace(np.full(400, sample_s), rates, name=f"link {seed}")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("quickstart", ["training.local_steps=2", "objective.gradient_split=assumed"])


@pytest.fixture(scope="module")
def table(scenario: Scenario) -> OptionTable:
    return profile_scenario(scenario)


@pytest.mark.parametrize(("sample_s", "outage"), one_row_of(3, [(0.005, 0.3), (0.05, 0.2), (1.0, 0.0)]))
def test_no_plan_beats_it_in_its_own_window(
    scenario: Scenario, table: OptionTable, sample_s: float, outage: float
) -> None:
    ids = [client.id for client in scenario.expanded_clients()]
    traces = {name: a_link(place, sample_s=sample_s, outage=outage) for place, name in enumerate(ids)}
    windows_s = draw_windows(traces, 0, ROUNDS)
    bound = Clairvoyant(scenario, table, traces)
    for strategy in STRATEGIES:
        plan = make_plan(scenario, table, strategy)
        played = replay(plan, scenario, num_rounds=ROUNDS, traces=traces, windows_s=windows_s)
        for index, latency_s in enumerate(played.round_latency_s):
            least = bound.seconds_to_progress({name: own[index] for name, own in windows_s.items()}, latency_s)
            assert 0 < least <= latency_s / plan.progress * (1 + 1e-9)


def test_on_constant_links_it_is_near_the_plan(scenario: Scenario, table: OptionTable) -> None:
    """Where nothing is to be foreseen only the order of work is left out of it; a far lower bound would say nothing."""
    plan = make_plan(scenario, table, "optimal")
    least = Clairvoyant(scenario, table, {}).seconds_to_progress({}, plan.round_latency_s)
    assert 0.8 * plan.objective_s < least <= plan.objective_s


def test_faster_recordings_have_no_higher_bound(scenario: Scenario, table: OptionTable) -> None:
    ids = [client.id for client in scenario.expanded_clients()]
    slow = {name: BandwidthTrace(np.array([1.0]), np.array([1e5]), is_per_hertz=False) for name in ids}
    often = {name: BandwidthTrace(np.array([0.004, 0.004]), np.array([0.2e6, 1.8e6]), offset_s=0.004) for name in ids}
    zeros = dict.fromkeys(ids, 0.0)
    even, begins_well = (
        Clairvoyant(scenario, table, traces).seconds_to_progress(zeros, 10.0) for traces in (slow, often)
    )
    assert begins_well <= even * 1.05


def test_other_objectives_have_none(table: OptionTable) -> None:
    other = load_scenario(
        "quickstart",
        ["training.local_steps=2", "objective.gradient_split=assumed", "objective.minimise=round-latency"],
    )
    with pytest.raises(UsageError, match="the clairvoyant bound is one of time-to-progress"):
        Clairvoyant(other, table, {})


@pytest.mark.slow
def test_a_link_with_a_concave_rate_is_bounded_by_its_tangents() -> None:
    """smart-home's uplinks follow Shannon's formula; without tangents the bound would be half of the plan's figure."""
    scenario = load_scenario("smart-home", ["training.local_steps=2"])
    table = profile_scenario(scenario)
    plan = make_plan(scenario, table, "optimal")
    least = Clairvoyant(scenario, table, {}).seconds_to_progress({}, plan.round_latency_s)
    assert 0.8 * plan.objective_s < least <= plan.objective_s
