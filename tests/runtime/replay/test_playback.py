from __future__ import annotations

import ast
import math
import time
from pathlib import Path

import numpy as np
import pytest

import hybridsplit.runtime.replay.links as replay_links
from hybridsplit.runtime.replay import replay, scenario_of
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.ledger import LEDGER_COLUMNS
from hybridsplit.scenarios.contracts.phases import OCCASIONAL_PHASES, ROUND_ORDER
from hybridsplit.scenarios.errors import ContractError, RunError, UsageError

ONE = "pi-0"


def phases_of(result, client, round_index=0):
    table = result.ledger.table
    rows = table[(table["client"] == client) & (table["round"] == round_index)]
    return {row.phase: (row.seconds, row.waiting_s, row.bytes) for row in rows.itertuples()}


def test_full_timeline_of_one_client(scenario_factory, plan_factory):
    # 1 MHz at 2 bit/s/Hz up and 4 down: 0.5 MB up takes 2 s, 0.25 MB of update 1 s, each 0.5 MB down 1 s.
    scenario = scenario_factory(1, local_steps=3)
    result = replay(plan_factory(scenario), scenario, num_rounds=2)
    for index in range(2):
        assert {phase: pytest.approx(row) for phase, row in phases_of(result, ONE, index).items()} == {
            "model_download": (1.0, 0.0, 500_000),
            "client_compute": (3.0, 0.0, 0),
            "uplink": (2.0, 0.0, 500_000),
            "server_compute": (0.5, 0.0, 0),
            "downlink": (1.0, 0.0, 500_000),
            "model_upload": (1.0, 0.0, 250_000),
            "barrier": (0.0, 0.0, 0),
        }
    assert result.rounds["simulated_s"].tolist() == pytest.approx([8.5, 17.0])
    assert result.round_latency_s == pytest.approx((8.5, 8.5))
    assert result.rounds["uplink_utilisation"].tolist() == pytest.approx([3 / 8.5] * 2)
    assert result.rounds["downlink_utilisation"].tolist() == pytest.approx([2 / 8.5] * 2)
    assert result.rounds["server_utilisation"].tolist() == pytest.approx([0.5 / 8.5] * 2)


def test_two_clients_meet_at_the_barrier(scenario_factory, plan_factory):
    scenario = scenario_factory(2, local_steps=2)
    plan = plan_factory(scenario, {"pi-1": {"client_compute_s": 10.0}})
    result = replay(plan, scenario, num_rounds=3)
    assert result.round_latency_s == pytest.approx((21.0, 21.0, 21.0))
    for index in range(3):
        assert phases_of(result, "pi-0", index)["barrier"] == pytest.approx((0.0, 7.0, 0))
        assert phases_of(result, "pi-1", index)["barrier"] == pytest.approx((0.0, 0.0, 0))
    assert set(result.rounds["slowest_client"]) == {"pi-1"}
    assert result.rounds["barrier_wait_s"].tolist() == pytest.approx([3.5] * 3)


def test_shares_divide_the_radio_and_the_server(scenario_factory, plan_factory):
    scenario = scenario_factory(2)
    shares = {"uplink_share": 0.25, "downlink_share": 0.2, "server_share": 0.1}
    phases = phases_of(replay(plan_factory(scenario, {ONE: shares}), scenario, num_rounds=1), ONE)
    assert phases["uplink"][0] == pytest.approx(8.0)
    assert phases["downlink"][0] == pytest.approx(5.0)
    assert phases["server_compute"][0] == pytest.approx(5.0)


@pytest.mark.parametrize("link_model", ["fixed", "shannon"])
@pytest.mark.parametrize("local_steps", [1, 4, 7])
def test_on_constant_links_the_replay_takes_what_was_planned(link_model, local_steps, scenario_factory, plan_factory):
    rng = np.random.default_rng(5)
    scenario = scenario_factory(20, link_model=link_model, local_steps=local_steps)
    changes = {
        client.id: {
            "uplink_share": 0.05 * rng.uniform(0.1, 1),
            "downlink_share": 0.05 * rng.uniform(0.1, 1),
            "server_share": 0.05 * rng.uniform(0.1, 1),
            "client_compute_s": rng.uniform(0.1, 20),
            "uplink_bytes": int(rng.integers(300_000, 9_000_000)),
            "downlink_bytes": int(rng.integers(600_000, 9_000_000)),
        }
        for client in scenario.expanded_clients()
    }
    plan = plan_factory(scenario, changes)
    result = replay(plan, scenario, num_rounds=5)
    assert result.round_latency_s == pytest.approx((plan.round_latency_s,) * 5, rel=1e-9)
    replayed = result.ledger.table.set_index(["client", "round", "phase"])
    planned = plan.ledger(5).table.set_index(["client", "round", "phase"]).reindex(replayed.index)
    np.testing.assert_allclose(replayed["seconds"], planned["seconds"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(replayed["waiting_s"], planned["waiting_s"], rtol=1e-9, atol=1e-7)
    assert (replayed["bytes"] == planned["bytes"]).all()


def test_bytes_that_do_not_divide_by_the_steps_are_all_carried(scenario_factory, plan_factory):
    scenario = scenario_factory(1, local_steps=7)
    odd = {
        "uplink_bytes": 250_003,
        "downlink_bytes": 500_001,
        "model_upload_bytes": 250_000,
        "model_download_bytes": 499_999,
    }
    phases = phases_of(replay(plan_factory(scenario, {ONE: odd}), scenario, num_rounds=1), ONE)
    assert {phase: row[2] for phase, row in phases.items() if row[2]} == {
        "model_download": 499_999,
        "uplink": 3,
        "downlink": 2,
        "model_upload": 250_000,
    }


def test_a_client_with_the_whole_model_needs_no_share_of_the_server(scenario_factory, plan_factory):
    scenario = scenario_factory(2, local_steps=4)
    local = {"server_share": 0.0, "server_compute_s": 0.0, "uplink_bytes": 250_000, "downlink_bytes": 500_000}
    phases = phases_of(replay(plan_factory(scenario, {ONE: local}), scenario, num_rounds=1), ONE)
    assert [phases[phase] for phase in ("uplink", "downlink", "server_compute")] == [(0.0, 0.0, 0)] * 3
    assert sum(row[0] for row in phases.values()) == pytest.approx(3.0 + 2.0 + 2.0)


def test_an_outage_is_waiting_and_not_serving(scenario_factory, plan_factory):
    # Mean 1: twice the planned rate for 4 s, then nothing for 4 s.
    trace = BandwidthTrace(np.array([4.0, 4.0]), np.array([2.0, 0.0]))
    scenario = scenario_factory(1)
    phases = phases_of(replay(plan_factory(scenario), scenario, num_rounds=1, traces={ONE: trace}), ONE)
    # Download 0 to 0.5, forward to 1.5, uplink 1.5 to 2.5, server to 3, downlink to 3.5, backward to 5.5, and the
    # upload meets the outage until 8 and takes half a second.
    assert phases["model_download"] == pytest.approx((0.5, 0.0, 500_000))
    assert phases["uplink"] == pytest.approx((1.0, 0.0, 500_000))
    assert phases["downlink"] == pytest.approx((0.5, 0.0, 500_000))
    assert phases["model_upload"] == pytest.approx((0.5, 2.5, 250_000))


def test_stragglers_and_late_clients(scenario_factory, plan_factory):
    scenario = scenario_factory(2)
    plan = plan_factory(scenario)
    result = replay(plan, scenario, num_rounds=2, compute_scale={ONE: 3.0}, start_offsets_s={"pi-1": 20.0})
    assert phases_of(result, ONE)["client_compute"][0] == pytest.approx(9.0)
    assert phases_of(result, "pi-1")["model_download"][1] == pytest.approx(20.0)
    assert result.round_latency_s == pytest.approx((plan.round_latency_s + 20.0, plan.round_latency_s + 6.0))


def test_the_ledger_has_every_phase_of_every_client_and_round(scenario_factory, plan_factory):
    scenario = scenario_factory(3)
    table = replay(plan_factory(scenario), scenario, num_rounds=2).ledger.table
    assert list(table.columns) == list(LEDGER_COLUMNS)
    # Nothing is on the way where links have no delay, and nothing is left where nobody is late.
    assert len(table) == 3 * 2 * (len(ROUND_ORDER) - len(OCCASIONAL_PHASES))
    assert set(table["source"]) == {"replayed"}
    assert not table["emulated"].any()


def test_two_replays_agree_to_the_bit(scenario_factory, plan_factory):
    scenario = scenario_factory(6, local_steps=3)
    plan = plan_factory(scenario)
    traces = {client.id: BandwidthTrace(np.array([1.0, 0.3]), np.array([3.0, 0.0])) for client in plan.clients}
    first, second = (replay(plan, scenario, num_rounds=4, traces=traces) for _ in range(2))
    assert first.ledger.table.equals(second.ledger.table)
    assert first.rounds.equals(second.rounds)


def test_a_plan_carries_its_scenario(scenario_factory, plan_factory):
    scenario = scenario_factory(2, link_model="shannon")
    assert scenario_of(plan_factory(scenario)) == scenario


@pytest.mark.parametrize(
    ("changes", "phase"),
    [
        ({"uplink_share": 0.0}, "uplink"),
        ({"downlink_share": 0.0}, "model_download"),
        ({"server_share": 0.0}, "server_compute"),
        ({"uplink_share": 1e-320}, "uplink"),
    ],
)
def test_a_client_that_can_never_finish_is_named(changes, phase, scenario_factory, plan_factory):
    scenario = scenario_factory(2)
    good = plan_factory(scenario)
    clients = (good.clients[0].model_copy(update=changes), good.clients[1])
    with pytest.raises(RunError, match=f"client pi-0, phase {phase}"):
        replay(good.model_copy(update={"clients": clients}), scenario, num_rounds=1)


def test_a_link_out_of_reach_is_named(scenario_factory, plan_factory):
    plan = plan_factory(scenario_factory(1, link_model="shannon"))
    far = scenario_factory(1, link_model="shannon", link={"path_gain_db": -5000.0, "downlink_bps_per_hz": 1.0})
    with pytest.raises(RunError, match="client pi-0, phase uplink"):
        replay(plan, far, num_rounds=1)


def test_more_shares_than_there_is_are_refused(scenario_factory, plan_factory):
    scenario = scenario_factory(2)
    with pytest.raises(ContractError, match=r"uplink_share sums to 1\.4"):
        replay(plan_factory(scenario, {ONE: {"uplink_share": 0.9}}), scenario, num_rounds=1)


def test_a_plan_for_other_clients_is_refused(scenario_factory, plan_factory):
    with pytest.raises(ContractError, match="pi-2"):
        replay(plan_factory(scenario_factory(3)), scenario_factory(2), num_rounds=1)
    empty = plan_factory(scenario_factory(1)).model_copy(update={"clients": ()})
    with pytest.raises(ContractError, match="no clients"):
        replay(empty, scenario_factory(1), num_rounds=1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_rounds": 0},
        {"num_rounds": 1, "traces": {"nobody": BandwidthTrace(np.ones(1), np.ones(1))}},
        {"num_rounds": 1, "compute_scale": {"nobody": 1.0}},
        {"num_rounds": 1, "compute_scale": {ONE: 0.0}},
        {"num_rounds": 1, "compute_scale": {ONE: math.nan}},
        {"num_rounds": 1, "start_offsets_s": {ONE: -1.0}},
    ],
)
def test_wrong_arguments_are_refused(arguments, scenario_factory, plan_factory):
    scenario = scenario_factory(2)
    with pytest.raises(UsageError):
        replay(plan_factory(scenario), scenario, **arguments)


@pytest.mark.slow
def test_a_thousand_clients_replay_in_seconds(scenario_factory, plan_factory):
    scenario = scenario_factory(1000, local_steps=4)
    plan = plan_factory(scenario)
    trace = BandwidthTrace(np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, 0.0]))
    start_s = time.perf_counter()
    result = replay(plan, scenario, num_rounds=10, traces={client.id: trace for client in plan.clients})
    assert time.perf_counter() - start_s < 20  # a few seconds when the machine is free
    assert len(result.ledger.table) == 1000 * 10 * (len(ROUND_ORDER) - len(OCCASIONAL_PHASES))


def test_the_replay_imports_no_planner_and_no_heavy_framework():
    folder = Path(replay_links.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"torch", "ray", "solver", "profiler", "orchestrator"}
