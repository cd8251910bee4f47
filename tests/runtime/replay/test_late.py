"""Rounds that go on without those who are late: who is in time is untouched, and who is not leaves nothing behind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay import Replay, replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError, SolverFailure
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance


def skipping(instance: Instance, **objective: Any) -> Instance:
    document = instance.scenario.resolved()
    document["objective"] |= {"late": "skip"} | objective
    return Instance(validate_scenario(document, "test"), instance.table)


def outages(clients: list[str], seed: int, around_s: float) -> dict[str, BandwidthTrace]:
    """Recordings with stretches at rate zero, about as long as a round."""
    draw = np.random.default_rng(seed)
    return {
        name: BandwidthTrace(
            draw.uniform(0.1, 1.0, 40) * around_s, draw.choice([0.0, 1.0, 4.0], 40, p=[0.3, 0.4, 0.3]), name
        )
        for name in clients
    }


def ends_s(played: Replay, index: int) -> dict[str, float]:
    """By client, when it was done in a round."""
    parts: dict[str, list[float]] = {}
    for entry in played.entries:
        if entry.round == index and entry.phase is not Phase.BARRIER:
            parts.setdefault(entry.client, []).extend((entry.seconds, entry.waiting_s))
    return {name: math.fsum(own) for name, own in parts.items()}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    strategy=st.sampled_from(["optimal", "static", "time-shared", "split-sequential"]),
    local_steps=st.integers(1, 3),
    quantile=st.floats(0.1, 0.95),
)
def test_in_the_first_round_those_are_in_time_who_are_done_before_the_deadline(
    seed: int, strategy: str, local_steps: int, quantile: float
) -> None:
    """What happens before a deadline does not depend on it: under every schedule, to the same seconds and bytes."""
    instance = random_instance(seed, num_clients=4, num_options=None, local_steps=local_steps)
    try:
        plan = make_plan(instance.scenario, instance.table, strategy)
    except InfeasibleError:
        return
    traces = outages([client.id for client in plan.clients], seed, plan.round_latency_s)
    patient = replay(plan, instance.scenario, num_rounds=1, traces=traces)
    done_s = ends_s(patient, 0)
    deadline_s = float(np.quantile(list(done_s.values()), quantile))
    played = replay(plan.model_copy(update={"deadline_s": deadline_s}), instance.scenario, num_rounds=1, traces=traces)
    late = {one.client for one in played.late}
    assert late == {name for name, end_s in done_s.items() if end_s > deadline_s * (1 + 1e-8)}
    assert played.round_latency_s[0] <= deadline_s * (1 + 1e-8)
    before, after = (
        [entry for entry in one.entries if entry.client not in late and entry.phase is not Phase.BARRIER]
        for one in (patient, played)
    )
    assert before == after


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), strategy=st.sampled_from(["optimal", "static", "time-shared"]))
def test_rounds_after_a_late_one_begin_afresh(seed: int, strategy: str) -> None:
    """Many rounds: none is longer than the deadline, each is accounted for, and with time enough nothing changes."""
    instance = random_instance(seed, num_clients=4, num_options=None, local_steps=2)
    plan = make_plan(instance.scenario, instance.table, strategy)
    traces = outages([client.id for client in plan.clients], seed, plan.round_latency_s)
    deadline_s = 1.5 * plan.round_latency_s
    played = replay(plan.model_copy(update={"deadline_s": deadline_s}), instance.scenario, num_rounds=12, traces=traces)
    assert max(played.round_latency_s) <= deadline_s * (1 + 1e-8)
    patient = replay(plan, instance.scenario, num_rounds=12, traces=traces)
    never = replay(plan.model_copy(update={"deadline_s": 1e9}), instance.scenario, num_rounds=12, traces=traces)
    assert never.late == ()
    assert never.round_latency_s == pytest.approx(patient.round_latency_s, rel=1e-9)


def test_over_constant_links_nobody_is_late() -> None:
    instance = skipping(random_instance(4, num_clients=4, num_options=6))
    plan = make_plan(instance.scenario, instance.table, "optimal")
    assert plan.deadline_s == 2 * plan.round_latency_s
    tight = plan.model_copy(update={"deadline_s": plan.round_latency_s})
    assert replay(tight, instance.scenario, num_rounds=3).late == ()


def altered(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update=changes)


def test_a_deadline_is_there_where_it_is_asked_for_and_not_before_the_planned_end() -> None:
    plain = random_instance(4, num_clients=4, num_options=6)
    instance = skipping(plain)
    plan = make_plan(instance.scenario, instance.table, "optimal")
    verify_plan(plan, instance.scenario, instance.table)
    for deadline_s in (None, plan.round_latency_s / 2):
        with pytest.raises(SolverFailure, match="deadline_s is"):
            verify_plan(altered(plan, deadline_s=deadline_s), instance.scenario, instance.table)
    waiting = make_plan(plain.scenario, plain.table, "optimal")
    assert waiting.deadline_s is None
    with pytest.raises(SolverFailure, match="deadline_s is"):
        verify_plan(altered(waiting, deadline_s=9e9), plain.scenario, plain.table)
    stated = skipping(plain, deadline_s=3 * plan.round_latency_s)
    planned = make_plan(stated.scenario, stated.table, "optimal")
    assert planned.deadline_s == 3 * plan.round_latency_s
    with pytest.raises(SolverFailure, match="the scenario states"):
        verify_plan(altered(planned, deadline_s=4 * plan.round_latency_s), stated.scenario, stated.table)
    early = skipping(plain, deadline_s=plan.round_latency_s / 2)
    with pytest.raises(InfeasibleError, match=r"objective\.deadline_s is .* and the planned round takes"):
        make_plan(early.scenario, early.table, "optimal")


@pytest.mark.parametrize(
    ("objective", "training", "message"),
    [
        ({"deadline_s": 3}, {}, "deadline_s: found one with late: wait"),
        ({"late": "skip"}, {"server_model": "shared-mean", "local_steps": 2}, r"objective\.late: found 'skip' with"),
        ({"late": "later"}, {}, r"objective\.late: "),
    ],
)
def test_what_does_not_go_together_is_refused(objective: Any, training: Any, message: str) -> None:
    document = random_instance(4, num_clients=2, num_options=6).scenario.resolved()
    document["objective"] |= objective
    document["training"] |= training
    with pytest.raises(ScenarioError, match=message):
        validate_scenario(document, "test")
