"""Links by their rates: one of the client's own is time on its device, and a share of a medium is a share of a band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.orchestrator.plan_words import bottlenecks, schedule_line
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, UPLINK_PHASES
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import ScenarioError, SolverFailure
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import bits
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.strategies.registry import STRATEGIES
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, group, make_scenario, random_instance
from tests.tiers import one_of

OWN = {"uplink_bps": 3e6, "downlink_bps": 8e6}


def with_links(instance: Instance, links: dict[int, dict[str, Any]], **radio: Any) -> Instance:
    """The same options over other links of some clients."""
    document = instance.scenario.resolved()
    for index, link in links.items():
        document["clients"][index]["link"] = link
    document["radio"] |= radio
    return Instance(validate_scenario(document, "test"), instance.table)


def as_device_time(instance: Instance, client: str, link: dict[str, Any]) -> OptionTable:
    """The options of a client with its transfers as seconds on the device, counted by hand."""
    frame = instance.table.table.copy()
    own = frame["client"] == client
    up_s, down_s = (
        bits(1) * frame.loc[own, name] / link[rate]
        for name, rate in (("uplink_bytes", "uplink_bps"), ("downlink_bytes", "downlink_bps"))
    )
    frame.loc[own, "client_compute_s"] += up_s + down_s
    frame.loc[own, ["uplink_bytes", "downlink_bytes", "model_upload_bytes", "model_download_bytes"]] = 0
    return OptionTable(frame)


def replayed_s(plan: Plan, scenario: Scenario) -> float:
    return replay(plan, scenario, num_rounds=1).round_latency_s[0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
def test_a_link_of_its_own_is_time_that_nobody_else_waits_for(seed: int, link_model: str) -> None:
    """With constant shares and one step, planning it is planning a slower device that sends nothing."""
    plain = random_instance(seed, num_clients=4, num_options=6, link_model=link_model)
    owner = plain.scenario.expanded_clients()[0].id
    instance = with_links(plain, {0: OWN})
    plan = make_plan(instance.scenario, instance.table, "static")
    twin = make_plan(plain.scenario, as_device_time(plain, owner, OWN), "static")
    assert plan.objective_s == pytest.approx(twin.objective_s, rel=1e-9)
    assert plan.lower_bound_s == pytest.approx(twin.lower_bound_s, rel=1e-6)
    assert [client.key for client in plan.clients] == [client.key for client in twin.clients]
    assert plan.clients[0].uplink_share == plan.clients[0].downlink_share == 0
    assert replayed_s(plan, instance.scenario) == pytest.approx(plan.round_latency_s, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    strategy=st.sampled_from(["optimal", "static", "time-shared", "splitfed", "greedy"]),
    server_model=st.sampled_from(["per-client", "shared-mean"]),
    local_steps=st.integers(1, 4),
    owners=st.sets(st.integers(0, 2), min_size=1),
    latency_s=st.sampled_from([0.0, 0.02]),
)
def test_every_clock_agrees_about_mixed_links(
    seed: int, strategy: str, server_model: str, local_steps: int, owners: set[int], latency_s: float
) -> None:
    """Planner, verifier and replay, whatever the schedule, the steps, and whose links are their own."""
    plain = random_instance(
        seed, num_clients=3, num_options=5, local_steps=local_steps, server_model=server_model,
        link_model=("fixed", "shannon")[seed % 2],
    )  # fmt: skip
    instance = with_links(plain, {index: OWN | {"latency_s": latency_s} for index in owners})
    plan = make_plan(instance.scenario, instance.table, strategy)
    verify_plan(plan, instance.scenario, instance.table)
    assert replayed_s(plan, instance.scenario) == pytest.approx(plan.round_latency_s, rel=1e-9)
    result = replay(plan, instance.scenario, num_rounds=1)
    if len(owners) == len(plan.clients):
        assert result.played[0].uplink_utilisation == result.played[0].downlink_utilisation == 0


@pytest.mark.parametrize("strategy", one_of(3, sorted(STRATEGIES)))
def test_every_strategy_plans_over_links_of_their_own(strategy: str) -> None:
    """All clients have one, and the scenario needs no radio."""
    plain = random_instance(3, num_clients=4, num_options=None)
    document = plain.scenario.resolved()
    del document["radio"]
    for one in document["clients"]:
        one["link"] = OWN
        one["memory_budget_bytes"] = 10**8
    frame = plain.table.table.assign(memory_budget_bytes=10**8, fits=True)
    scenario = validate_scenario(document, "test")
    plan = make_plan(scenario, OptionTable(frame), strategy)
    for client in plan.clients:
        assert client.has_dedicated_link
        assert sum(client.phases_s.get(phase, 0.0) for phase in UPLINK_PHASES) == pytest.approx(
            bits(client.uplink_bytes) / OWN["uplink_bps"]
        )
        assert sum(client.phases_s.get(phase, 0.0) for phase in DOWNLINK_PHASES) == pytest.approx(
            bits(client.downlink_bytes) / OWN["downlink_bps"]
        )
    assert replayed_s(plan, scenario) == pytest.approx(plan.round_latency_s, rel=1e-9)
    if plan.serves_one_at_a_time:
        assert "uplink 0 %, downlink 0 %" in schedule_line(plan)


@pytest.mark.parametrize("strategy", ["optimal", "static"])
def test_a_share_of_a_medium_of_stated_rate_is_a_share_of_the_band_that_carries_it(strategy: str) -> None:
    plain = random_instance(5, num_clients=4, num_options=6)
    radio = plain.scenario.radio
    links = {
        index: {
            "uplink_bps": one["link"]["uplink_bps_per_hz"] * radio.uplink_hz,
            "downlink_bps": one["link"]["downlink_bps_per_hz"] * radio.downlink_hz,
            "medium": "shared",
        }
        for index, one in enumerate(plain.scenario.resolved()["clients"])
    }
    rated = with_links(plain, links)
    by_band, by_rate = (make_plan(one.scenario, one.table, strategy) for one in (plain, rated))
    assert by_rate.objective_s == pytest.approx(by_band.objective_s, rel=1e-9)
    assert [client.key for client in by_rate.clients] == [client.key for client in by_band.clients]
    mixed = with_links(plain, {0: links[0], 2: links[2]})
    assert make_plan(mixed.scenario, mixed.table, strategy).objective_s == pytest.approx(by_band.objective_s, rel=1e-9)


def test_more_band_is_worth_nothing_to_those_who_do_not_use_it() -> None:
    plain = random_instance(7, num_clients=3, num_options=6)
    instance = with_links(plain, dict.fromkeys(range(3), OWN))
    saved = {one.resource: one.saves_s for one in make_plan(instance.scenario, instance.table, "static").marginals}
    assert saved["uplink"] == saved["downlink"] == 0
    assert saved["server"] >= 0


@pytest.mark.parametrize("strategy", ["optimal", "static"])
@pytest.mark.parametrize("seed", range(4))
def test_a_faster_link_of_its_own_saves_what_planning_with_it_saves(strategy: str, seed: int) -> None:
    """The options kept; the link of one slow client, whom the others wait for."""
    plain = random_instance(seed, num_clients=3, num_options=1)
    instance, faster = (
        with_links(plain, {0: {"uplink_bps": 1e5 * times, "downlink_bps": 1e5 * times}}) for times in (1.0, 1.1)
    )
    plan, after = (make_plan(one.scenario, one.table, strategy) for one in (instance, faster))
    (marginal,) = [one for one in plan.marginals if one.resource == "link"]
    assert marginal.clients == (plan.clients[0].id,)
    assert marginal.saves_s == pytest.approx(plan.objective_s - after.objective_s, rel=1e-6)
    assert f"{plan.clients[0].id} own link" in [one.what for one in bottlenecks(plan)]


def test_a_recording_moves_a_link_of_its_own_and_nobody_else_waits() -> None:
    """At a constant rate in absolute terms the transfers take bytes over that rate, whatever the plan has."""
    plain = random_instance(11, num_clients=3, num_options=6)
    instance = with_links(plain, {0: OWN})
    plan = make_plan(instance.scenario, instance.table, "optimal")
    name, rate_bps = plan.clients[0].id, 1e5
    trace = BandwidthTrace(np.array([1.0]), np.array([rate_bps]), "constant")
    result = replay(plan, instance.scenario, num_rounds=1, traces={name: trace}, uses_recorded_rates=True)
    carried_s = sum(
        entry.seconds
        for entry in result.entries
        if entry.client == name and entry.phase in (*UPLINK_PHASES, *DOWNLINK_PHASES)
    )
    size = plan.clients[0].uplink_bytes + plan.clients[0].downlink_bytes
    assert carried_s == pytest.approx(bits(size) / rate_bps)


def test_a_share_of_the_radio_for_a_link_of_its_own_is_caught() -> None:
    plain = random_instance(2, num_clients=3, num_options=6)
    instance = with_links(plain, {0: OWN})
    plan = make_plan(instance.scenario, instance.table, "static")
    first = plan.clients[0].model_copy(update={"uplink_share": 0.1})
    with pytest.raises(SolverFailure, match="its link is its own"):
        verify_plan(plan.model_copy(update={"clients": (first, *plan.clients[1:])}), instance.scenario, instance.table)


def scenario_of(link: dict[str, Any], radio: dict[str, Any] | None) -> dict[str, Any]:
    document = make_scenario([group("a")]).resolved()
    document["clients"][0]["link"] = link
    document.pop("radio")
    return document | ({} if radio is None else {"radio": radio})


@pytest.mark.parametrize(
    ("link", "radio", "message"),
    [
        ({"uplink_bps_per_hz": 2, "downlink_bps_per_hz": 4}, None, "radio.uplink_hz: is needed"),
        ({"uplink_bps_per_hz": 2, "downlink_bps_per_hz": 4}, {"uplink_hz": 1e6}, "radio.downlink_hz: is needed"),
        (OWN | {"medium": "shared"}, {"link_model": "shannon"}, "clients.0.link.medium: found 'shared', which needs"),
        ({"uplink_bps": "20 MB", "downlink_bps": 1}, None, "'MB' measures an amount of memory"),
        ({"uplink_bps": 0, "downlink_bps": 1e6}, None, "clients.0.link.uplink_bps"),
        ({"uplink_bps": 1e6}, None, "clients.0.link.downlink_bps: "),
        (OWN | {"uplink_bps_per_hz": 2}, None, "uplink_bps_per_hz"),
        (OWN | {"medium": "wired"}, None, "clients.0.link.medium: "),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(link: dict[str, Any], radio: Any, message: str) -> None:
    with pytest.raises(ScenarioError, match=message.replace(".", r"\.")):
        validate_scenario(scenario_of(link, radio), "test")
