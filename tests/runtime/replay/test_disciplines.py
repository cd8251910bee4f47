"""Plans replayed by disciplines: seconds, waits and bytes of the ledger, under every schedule and beside a deadline."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay import Replay, replay
from hybridsplit.runtime.replay.links import uplink_rate_bps
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.disciplines import (
    BY_PLAN,
    RADIO_DISCIPLINES,
    SERVER_DISCIPLINES,
    Disciplines,
    disciplines_of,
)
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Chain, Dispatch, Turns
from hybridsplit.scenarios.errors import InfeasibleError, UsageError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan as planned
from hybridsplit.testing.instances import random_instance
from tests.runtime.replay.conftest import make_plan, make_scenario

EVERY = [
    disciplines_of(server, radio)
    for server in SERVER_DISCIPLINES
    for radio in RADIO_DISCIPLINES
    if (server, radio) != ("plan", "plan")
]
Scenarios = Callable[..., Scenario]
Plans = Callable[..., Plan]


def spent(result: Replay, client: str, round_index: int = 0) -> dict[Phase, tuple[float, float]]:
    return {
        entry.phase: (entry.seconds, entry.waiting_s)
        for entry in result.entries
        if entry.client == client and entry.round == round_index
    }


@pytest.mark.parametrize("disciplines", EVERY, ids=str)
def test_a_client_alone_waits_for_nobody(
    disciplines: Disciplines, scenario_factory: Scenarios, plan_factory: Plans
) -> None:
    """Whatever the shares of its plan, it has all of what is divided."""
    scenario = scenario_factory(1, local_steps=3)
    shares = {"uplink_share": 0.5, "downlink_share": 0.25, "server_share": 0.5}
    result = replay(plan_factory(scenario, {"pi-0": shares}), scenario, num_rounds=2, disciplines=disciplines)
    slower = {"server": 2.0, "up": 2.0, "down": 4.0}
    if disciplines.server != "plan":
        slower["server"] = 1.0
    if disciplines.radio != "plan":
        slower |= {"up": 1.0, "down": 1.0}
    for index in range(2):
        assert spent(result, "pi-0", index) == {
            Phase.MODEL_DOWNLOAD: (pytest.approx(1.0 * slower["down"]), pytest.approx(0.0, abs=1e-9)),
            Phase.CLIENT_COMPUTE: (pytest.approx(3.0), 0.0),
            Phase.UPLINK: (pytest.approx(2.0 * slower["up"]), pytest.approx(0.0, abs=1e-9)),
            Phase.SERVER_COMPUTE: (pytest.approx(0.5 * slower["server"]), pytest.approx(0.0, abs=1e-9)),
            Phase.DOWNLINK: (pytest.approx(1.0 * slower["down"]), pytest.approx(0.0, abs=1e-9)),
            Phase.MODEL_UPLOAD: (pytest.approx(1.0 * slower["up"]), pytest.approx(0.0, abs=1e-9)),
            Phase.BARRIER: (0.0, 0.0),
        }


SERVER_ALONE = {
    "uplink_bytes": 0, "downlink_bytes": 0, "model_upload_bytes": 0, "model_download_bytes": 0,
    "client_compute_s": 3.0, "server_compute_s": 4.0,
}  # fmt: skip


def test_two_clients_at_the_server(scenario_factory: Scenarios, plan_factory: Plans) -> None:
    """The server is asked after a third of the compute: at 1 s for 4 s, and at 2 s for 1 s."""
    scenario = scenario_factory(2)
    other = SERVER_ALONE | {"client_compute_s": 6.0, "server_compute_s": 1.0}
    plan = plan_factory(scenario, {"pi-0": SERVER_ALONE, "pi-1": other})
    first_come = replay(plan, scenario, num_rounds=1, disciplines=disciplines_of("first-come"))
    assert spent(first_come, "pi-0")[Phase.SERVER_COMPUTE] == pytest.approx((4.0, 0.0))
    assert spent(first_come, "pi-1")[Phase.SERVER_COMPUTE] == pytest.approx((1.0, 3.0))
    assert first_come.round_latency_s == pytest.approx((10.0,))
    # Both at half speed from 2 s to 4 s, when the second is done; the first has 2 s left.
    sharing = replay(plan, scenario, num_rounds=1, disciplines=disciplines_of("processor-sharing"))
    assert spent(sharing, "pi-0")[Phase.SERVER_COMPUTE] == pytest.approx((4.0, 1.0))
    assert spent(sharing, "pi-1")[Phase.SERVER_COMPUTE] == pytest.approx((1.0, 1.0))
    assert sharing.rounds["server_utilisation"].tolist() == pytest.approx([5.0 / 8.0])


def test_two_clients_on_the_radio(scenario_factory: Scenarios, plan_factory: Plans) -> None:
    """Uploads of 2 s and 6 s at the whole band, both from 1 s on, by clients whose links are alike."""
    scenario = scenario_factory(2)
    common = SERVER_ALONE | {"server_compute_s": 0.0}
    sizes = {"pi-0": common | {"uplink_bytes": 500_000}, "pi-1": common | {"uplink_bytes": 1_500_000}}
    for radio in RADIO_DISCIPLINES[1:]:
        result = replay(plan_factory(scenario, sizes), scenario, num_rounds=1, disciplines=disciplines_of(radio=radio))
        assert spent(result, "pi-0")[Phase.UPLINK] == pytest.approx((2.0, 2.0))
        assert spent(result, "pi-1")[Phase.UPLINK] == pytest.approx((6.0, 2.0))


def test_a_part_of_the_band_carries_that_part_of_what_the_whole_carries(
    scenario_factory: Scenarios, plan_factory: Plans
) -> None:
    scenario = scenario_factory(3, link_model="shannon")
    result = replay(plan_factory(scenario), scenario, num_rounds=1, disciplines=disciplines_of(radio="round-robin"))
    whole_bps = uplink_rate_bps(scenario.clients[0].link, scenario.radio, 1.0)
    for client in result.clients:
        seconds, waiting_s = spent(result, client)[Phase.UPLINK]
        assert seconds == pytest.approx(8 * 500_000 / whole_bps)
        assert waiting_s == pytest.approx(2 * seconds)


def outages(clients: tuple[str, ...], seed: int, around_s: float) -> dict[str, BandwidthTrace]:
    draw = np.random.default_rng(seed)
    return {
        name: BandwidthTrace(
            draw.choice([0.0, 0.1, 0.5, 1.0], 40) * around_s + 1e-3 * around_s,
            draw.choice([0.0, 1.0, 4.0], 40, p=[0.3, 0.4, 0.3]), name,
        )
        for name in clients
    }  # fmt: skip


@st.composite
def played_plans(draw: st.DrawFn) -> tuple[Plan, Scenario, dict[str, BandwidthTrace], Disciplines]:
    """Plans of few kinds of clients under every schedule, so that many ask at the same time."""
    number = draw(st.integers(2, 5))
    scenario = make_scenario(number, local_steps=draw(st.integers(1, 3)))
    ids = tuple(client.id for client in scenario.expanded_clients())
    kind = st.fixed_dictionaries(
        {
            "client_compute_s": st.sampled_from([0.1, 3.0, 1 / 3]),
            "server_compute_s": st.sampled_from([0.5, 2.0]),
            "uplink_bytes": st.sampled_from([250_001, 750_000]),
            "model_upload_bytes": st.sampled_from([0, 250_000]),
        }
    )
    kinds = draw(st.lists(kind, min_size=1, max_size=3))
    changes = {name: draw(st.sampled_from(kinds)) for name in ids}
    named = draw(st.sampled_from(["simultaneous", "turns", "chain", "dispatch"]))
    order, shares = tuple(draw(st.permutations(ids))), ("uplink_share", "downlink_share", "server_share")
    whole: dict[str, float] = dict.fromkeys(shares, 1.0) if named != "simultaneous" else {}
    plan = make_plan(scenario, {name: one | whole for name, one in changes.items()})
    if named != "simultaneous":
        schedule = {
            "turns": Turns(order=order), "chain": Chain(order=order),
            "dispatch": Dispatch(order=order, urgency_s=(0.0,) * number),
        }[named]  # fmt: skip
        plan = plan.model_copy(update={"schedule": schedule})
    seed = draw(st.integers(0, 100))
    traces = outages(ids, seed, plan.round_latency_s / 3) if draw(st.booleans()) else {}
    return plan, scenario, traces, draw(st.sampled_from(EVERY))


def check_seconds(plan: Plan, result: Replay, disciplines: Disciplines) -> None:
    """Bytes and clock are checked by every replay; seconds are those of the whole resource, which serves one second a
    second, and at the server they are the same whatever the discipline."""
    for index, latency_s in enumerate(result.round_latency_s):
        of = [spent(result, client, index) for client in result.clients]
        if disciplines.server != "plan":
            works = [client.server_compute_s for client in plan.clients]
            assert [one[Phase.SERVER_COMPUTE][0] for one in of] == pytest.approx(works, rel=1e-8)
            assert sum(works) <= latency_s * (1 + 1e-9)
        if disciplines.radio != "plan":
            for phases in (UPLINK_PHASES, DOWNLINK_PHASES):
                assert math.fsum(one[phase][0] for one in of for phase in phases if phase in one) <= latency_s * (
                    1 + 1e-9
                )
    for played in result.played:
        use = (played.uplink_utilisation, played.downlink_utilisation, played.server_utilisation)
        assert min(use) >= 0
        assert max(use) <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(case=played_plans())
def test_nothing_is_lost_whatever_the_schedule_and_the_links(
    case: tuple[Plan, Scenario, dict[str, BandwidthTrace], Disciplines],
) -> None:
    plan, scenario, traces, disciplines = case
    check_seconds(plan, replay(plan, scenario, num_rounds=2, traces=traces, disciplines=disciplines), disciplines)


@settings(max_examples=40, deadline=None)
@given(case=played_plans(), quantile=st.floats(0.1, 0.95))
def test_what_happens_before_a_deadline_does_not_depend_on_it(
    case: tuple[Plan, Scenario, dict[str, BandwidthTrace], Disciplines], quantile: float
) -> None:
    plan, scenario, traces, disciplines = case
    patient = replay(plan, scenario, num_rounds=1, traces=traces, disciplines=disciplines)
    done_s = {
        name: math.fsum(sum(pair) for phase, pair in spent(patient, name).items() if phase is not Phase.BARRIER)
        for name in patient.clients
    }
    deadline_s = float(np.quantile(list(done_s.values()), quantile))
    hurried = plan.model_copy(update={"deadline_s": deadline_s})
    played = replay(hurried, scenario, num_rounds=3, traces=traces, disciplines=disciplines)
    late = {one.client for one in played.late if one.round == 0}
    assert late == {name for name, end_s in done_s.items() if end_s > deadline_s * (1 + 1e-8)}
    assert max(played.round_latency_s) <= deadline_s * (1 + 1e-8)
    for name in set(played.clients) - late:
        before, after = spent(patient, name), spent(played, name)
        for phase in set(before) - {Phase.BARRIER}:
            assert after[phase] == pytest.approx(before[phase], rel=1e-9, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    strategy=st.sampled_from(["optimal", "static", "time-shared", "split-sequential"]),
    server_model=st.sampled_from(["per-client", "shared-mean"]),
    disciplines=st.sampled_from(EVERY),
)
def test_plans_of_every_strategy_are_played(
    seed: int, strategy: str, server_model: str, disciplines: Disciplines
) -> None:
    instance = random_instance(seed, num_clients=4, num_options=None, local_steps=2, server_model=server_model)
    try:
        plan = planned(instance.scenario, instance.table, strategy)
    except InfeasibleError:
        return
    if disciplines.server != "plan" and not any(client.server_compute_s for client in plan.clients):
        return
    traces = outages(tuple(client.id for client in plan.clients), seed, plan.round_latency_s / 3)
    check_seconds(
        plan, replay(plan, instance.scenario, num_rounds=2, traces=traces, disciplines=disciplines), disciplines
    )


def test_who_withdraws_leaves_the_server_to_the_others(scenario_factory: Scenarios, plan_factory: Plans) -> None:
    """Of two that share the server from 1 s on, the one that needs 4 s is late at 4 s; the next round begins afresh."""
    scenario = scenario_factory(2)
    plan = plan_factory(scenario, {"pi-0": SERVER_ALONE, "pi-1": SERVER_ALONE | {"server_compute_s": 0.4}})
    hurried = plan.model_copy(update={"deadline_s": 4.0})
    played = replay(hurried, scenario, num_rounds=2, disciplines=disciplines_of("processor-sharing"))
    assert {(one.client, one.round) for one in played.late} == {("pi-0", 0), ("pi-0", 1)}
    for index in range(2):
        assert spent(played, "pi-1", index)[Phase.SERVER_COMPUTE] == pytest.approx((0.4, 0.4))
    assert played.round_latency_s == pytest.approx((4.0, 4.0))


@pytest.mark.parametrize("schedule", [Turns, Chain])
def test_schedules_rule_what_is_not_divided(
    schedule: type[Turns] | type[Chain], scenario_factory: Scenarios, plan_factory: Plans
) -> None:
    """Turns wait on the radio in their order and at the server by arrival; a chain goes one client after another."""
    scenario = scenario_factory(2)
    whole = {"uplink_share": 1.0, "downlink_share": 1.0, "server_share": 1.0}
    plan = plan_factory(scenario, {"pi-0": whole | {"client_compute_s": 30.0}, "pi-1": whole})
    plan = plan.model_copy(update={"schedule": schedule(order=("pi-0", "pi-1"))})
    result = replay(plan, scenario, num_rounds=1, disciplines=disciplines_of("first-come"))
    by_plan = replay(plan, scenario, num_rounds=1)
    assert result.round_latency_s == pytest.approx(by_plan.round_latency_s)
    assert spent(result, "pi-1")[Phase.UPLINK] == pytest.approx(spent(by_plan, "pi-1")[Phase.UPLINK])
    if schedule is Turns:
        at_will = replay(plan, scenario, num_rounds=1, disciplines=disciplines_of("first-come", "round-robin"))
        assert spent(at_will, "pi-1")[Phase.BARRIER][1] > spent(by_plan, "pi-1")[Phase.BARRIER][1] + 5
        assert spent(at_will, "pi-1")[Phase.UPLINK][1] == pytest.approx(0.0, abs=1e-9)


def test_by_the_plan_nothing_changes(scenario_factory: Scenarios, plan_factory: Plans) -> None:
    scenario = scenario_factory(3)
    plan = plan_factory(scenario)
    assert replay(plan, scenario, num_rounds=2, disciplines=BY_PLAN) == replay(plan, scenario, num_rounds=2)


def test_who_else_is_there_moves_no_clients_link(scenario_factory: Scenarios, plan_factory: Plans) -> None:
    """Clients with links of their own are served as if others did not exist, on links and with windows of their own."""
    own = {"uplink_bps": 2e6, "downlink_bps": 4e6}
    links = {"fading": "rayleigh", "mean_snr_db": 10.0, "duration_s": 30.0}
    latencies = {}
    for number in (1, 3):
        scenario = scenario_factory(number, link=own | {"trace": links})
        free = {"uplink_share": 0.0, "downlink_share": 0.0, "server_compute_s": 1e-9}
        changes = {f"pi-{n}": free for n in range(number)}
        plan = plan_factory(scenario, changes)
        result = replay(plan, scenario, num_rounds=4, samples_windows=True, disciplines=disciplines_of("first-come"))
        latencies[number] = [spent(result, "pi-0", index)[Phase.UPLINK] for index in range(4)]
    assert latencies[1] == latencies[3]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"server": "fifo"}, "server: found 'fifo'; needs one of plan, first-come, processor-sharing"),
        ({"radio": "proportional"}, "did you mean 'proportional-fair'"),
        ({"averaging_s": 1.0}, "only proportional-fair averages"),
        ({"radio": "proportional-fair", "averaging_s": 0.0}, "needs a time of at least 1 ms"),
        ({"radio": "proportional-fair", "averaging_s": math.nan}, "needs a time of at least 1 ms"),
    ],
)
def test_names_and_times_that_do_not_exist_are_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        disciplines_of(**asked)


def test_what_disciplines_do_not_go_with_is_refused(scenario_factory: Scenarios, plan_factory: Plans) -> None:
    scenario = scenario_factory(2)
    plan = plan_factory(scenario)
    fair, queue = disciplines_of(radio="max-min"), disciplines_of("first-come")
    trace = BandwidthTrace(np.ones(2), np.array([1e6, 2e6]))

    def refused(words: str, one: Plan, disciplines: Disciplines, **how: Any) -> None:
        with pytest.raises(UsageError, match=words):
            replay(one, scenario, num_rounds=1, disciplines=disciplines, **how)

    refused("rates are those of the links", plan, fair, traces={"pi-0": trace}, uses_recorded_rates=True)
    replay(plan, scenario, num_rounds=1, disciplines=queue, traces={"pi-0": trace}, uses_recorded_rates=True)
    ahead = plan_factory(scenario, {"pi-0": {"staleness": 1}})
    refused("whose work overlaps", ahead, queue)
    away = plan_factory(scenario, {name: {"server_compute_s": 0.0} for name in ("pi-0", "pi-1")})
    refused("do not use the server", away, queue)
    silent = {"uplink_bytes": 0, "downlink_bytes": 0, "model_upload_bytes": 0, "model_download_bytes": 0}
    refused("send nothing over a shared radio", plan_factory(scenario, dict.fromkeys(("pi-0", "pi-1"), silent)), fair)
    values = scenario.resolved()
    values["training"]["replanning"] = {"policy": "every-n", "every_rounds": 1}
    with pytest.raises(UsageError, match=r"training\.replanning changes the plan"):
        replay(plan, validate_scenario(values, "test"), num_rounds=1, disciplines=queue)
