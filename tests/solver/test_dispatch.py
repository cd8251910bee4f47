"""Service by priority: the best of brute force, work conserved, three clocks that agree, delays that count once."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.solver.dispatch.sequences import UPLINK, Segment, Sequences, Served
from hybridsplit.solver.dispatch.walk import ends_s
from hybridsplit.solver.planner import make_plan
from hybridsplit.solver.problem.build import build_problem
from hybridsplit.solver.verify.plan import verify_plan
from hybridsplit.testing.instances import Instance, random_instance
from tests.tiers import one_of

SEEDS = range(12)


def with_delay(instance: Instance, **delays: object) -> Instance:
    """The same instance over links that delay."""
    document = instance.scenario.resolved()
    for one in document["clients"]:
        one["link"] |= delays
    return Instance(validate_scenario(document, "test"), instance.table)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_choice_of_options_and_order_is_much_better(seed: int) -> None:
    """All options of three clients times all strict priorities, each timed."""
    instance = random_instance(seed, num_clients=3, num_options=5, local_steps=1 + seed % 4)
    problem = build_problem(instance.table, instance.scenario, None)
    plan = make_plan(instance.scenario, instance.table, "optimal")
    sequences = Sequences(problem)
    ends = np.append(problem.starts[1:], problem.num_rows)
    best_s = math.inf
    for rows in itertools.product(*(range(s, e) for s, e in zip(problem.starts, ends, strict=True))):
        own = [sequences.of(row) for row in rows]
        for order in itertools.permutations((0.0, 1e6, 2e6)):
            best_s = min(best_s, problem.objective_of(np.array(rows), max(ends_s(own, order))))
    assert plan.objective_s <= best_s * (1 + 1e-9)
    assert plan.schedule_lower_bound_s <= plan.objective_s


@pytest.mark.parametrize("seed", SEEDS)
def test_a_search_with_limits_finds_what_one_without_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, draws included: a limit ends the timing of what would be turned down anyhow."""
    instance = random_instance(seed, num_clients=5, num_options=6, local_steps=1 + seed % 3)
    limited = make_plan(instance.scenario, instance.table, "optimal")
    without = lambda own, urgency_s, limit_s: ends_s(own, urgency_s)  # noqa: E731
    monkeypatch.setattr("hybridsplit.solver.dispatch.search.ends_s", without)
    whole = make_plan(instance.scenario, instance.table, "optimal")
    same = {"solve_s": 0.0, "compile_s": 0.0}
    assert limited.model_copy(update=same) == whole.model_copy(update=same)


@pytest.mark.parametrize("seed", one_of(2, SEEDS))
def test_is_never_worse_than_constant_shares_and_the_replay_agrees(seed: int) -> None:
    model = ("per-client", "shared-mean")[seed % 2]
    plain = random_instance(
        100 + seed, num_clients=5, num_options=None, local_steps=3, server_model=model,
        link_model=("fixed", "shannon")[seed // 2 % 2],
    )  # fmt: skip
    instance = with_delay(plain, latency_s=0.01 * (seed % 3), downlink_latency_s=0.02)
    plan = make_plan(instance.scenario, instance.table, "optimal")
    static = make_plan(instance.scenario, instance.table, "static")
    assert plan.objective_s <= static.objective_s * (1 + 1e-9)
    for each in (plan, static):
        replayed = replay(each, instance.scenario, num_rounds=2)
        assert replayed.round_latency_s == pytest.approx([each.round_latency_s] * 2, rel=1e-9)


def dispatched(num_clients: int = 4, local_steps: int = 3) -> tuple[Instance, Plan]:
    """An instance whose best plan serves by priority."""
    instance = random_instance(3, num_clients=num_clients, num_options=None, local_steps=local_steps)
    plan = make_plan(instance.scenario, instance.table, "optimal")
    assert isinstance(plan.schedule, Dispatch)
    return instance, plan


def test_the_verifier_knows_who_waits_how_long() -> None:
    instance, plan = dispatched()
    client = max(plan.clients, key=lambda c: math.fsum(c.waiting_s.values()))
    phase, waited_s = max(client.waiting_s.items(), key=lambda item: item[1])
    others = [c for c in plan.clients if c is not client]
    changed = client.model_copy(
        update={"waiting_s": client.waiting_s | {phase: waited_s / 2}, "latency_s": client.latency_s - waited_s / 2}
    )
    altered = plan.model_copy(update={"clients": tuple(sorted([changed, *others], key=lambda c: c.id))})
    with pytest.raises(SolverFailure, match=rf"{client.id}: waits .* for {phase}, its schedule gives"):
        verify_plan(altered, instance.scenario, instance.table)


def test_an_order_that_lacks_a_client_is_refused() -> None:
    instance, plan = dispatched()
    assert isinstance(plan.schedule, Dispatch)
    short = Dispatch(order=plan.schedule.order[1:], urgency_s=plan.schedule.urgency_s[1:])
    with pytest.raises(SolverFailure, match="does not name all of them"):
        verify_plan(plan.model_copy(update={"schedule": short}), instance.scenario, instance.table)
    with pytest.raises(ValueError, match="urgencies for"):
        Dispatch(order=plan.schedule.order, urgency_s=(0.0,))


def test_a_more_urgent_client_takes_the_place_of_another() -> None:
    """By hand: one sends from 0.1 s on for 10 s; at 1 s another asks for 1 s, and computes for 20 s afterwards."""
    patient = (Segment((Served(UPLINK, 10.0, 0.1, 10.0, Phase.UPLINK),), 0.0),)
    urgent = (Segment((Served(UPLINK, 1.0, 1.0, 21.0, Phase.UPLINK),), 20.0),)
    took_s: dict[int, float] = {}
    ends = ends_s([patient, urgent], [0.0, 0.0], lambda client, _, seconds: took_s.update({client: seconds}))
    assert ends == pytest.approx([11.1, 22.0], rel=1e-12)
    assert took_s == pytest.approx({0: 11.0, 1: 1.0}, rel=1e-12)
    # With urgency enough the first keeps the link, and the other waits until it is done.
    assert ends_s([patient, urgent], [12.0, 0.0]) == pytest.approx([10.1, 31.1], rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), num_clients=st.integers(2, 5), steps=st.integers(1, 3),
    urgencies=st.lists(st.floats(-5, 5), min_size=5, max_size=5),
)  # fmt: skip
def test_no_resource_idles_while_anybody_wants_it(
    seed: int, num_clients: int, steps: int, urgencies: list[float]
) -> None:
    """Whatever the urgencies: no client is faster than alone, nor waits longer than all others are served together."""
    instance = random_instance(seed, num_clients=num_clients, num_options=3, local_steps=steps)
    problem = build_problem(instance.table, instance.scenario, None)
    own = [Sequences(problem).of(int(row)) for row in problem.starts]
    ends = ends_s(own, urgencies[:num_clients])
    alone = [ends_s([sequence], [0.0])[0] for sequence in own]
    busy = [math.fsum(job.duration_s for segment in sequence for job in segment.jobs) for sequence in own]
    for client, end_s in enumerate(ends):
        assert end_s >= alone[client] * (1 - 1e-12)
        assert end_s <= alone[client] + math.fsum(busy) - busy[client] + 1e-9


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 50),
    num_clients=st.integers(1, 6),
    part=st.floats(0.2, 1.5),
    urgencies=st.lists(st.floats(-5, 5), min_size=6, max_size=6),
    server_model=st.sampled_from(["per-client", "shared-mean"]),
)
def test_a_walk_with_a_limit_stops_only_where_the_round_takes_longer(
    seed: int, num_clients: int, part: float, urgencies: list[float], server_model: str
) -> None:
    instance = random_instance(
        seed, num_clients=num_clients, num_options=None, local_steps=1 + seed % 3, server_model=server_model
    )
    problem = build_problem(instance.table, instance.scenario, None)
    own = [Sequences(problem).of(int(row)) for row in problem.starts]
    whole = ends_s(own, urgencies[:num_clients])
    limit_s = part * max(whole)
    limited = ends_s(own, urgencies[:num_clients], limit_s=limit_s)
    assert limited == whole if max(whole) <= limit_s else max(limited) > limit_s


@settings(max_examples=25, deadline=None)
@given(up_s=st.floats(0, 1), down_s=st.floats(0, 1), steps=st.integers(1, 5))
def test_every_crossing_is_delayed_once(up_s: float, down_s: float, steps: int) -> None:
    """Planner, verifier and replay, against counting by hand."""
    plain = random_instance(7, num_clients=2, num_options=4, local_steps=steps)
    instance = with_delay(plain, uplink_latency_s=up_s, downlink_latency_s=down_s)
    plan = make_plan(instance.scenario, instance.table, "static")
    for client in plan.clients:
        ups = sum(min(client.phase_bytes(p), steps if p is Phase.UPLINK else 1) for p in UPLINK_PHASES)
        downs = sum(min(client.phase_bytes(p), steps if p is Phase.DOWNLINK else 1) for p in DOWNLINK_PHASES)
        assert client.phases_s.get(Phase.PROPAGATION, 0.0) == pytest.approx(ups * up_s + downs * down_s, abs=1e-12)
    assert replay(plan, instance.scenario, num_rounds=1).round_latency_s[0] == pytest.approx(
        plan.round_latency_s, rel=1e-9
    )


def test_a_delay_changes_the_plan() -> None:
    """A second on the way at every crossing: who may stay local does, or crosses less often."""
    plain = random_instance(5, num_clients=3, num_options=None, num_cuts=4, local_steps=8)
    far = with_delay(plain, latency_s=1.0)
    blind = make_plan(plain.scenario, plain.table, "optimal")
    aware = make_plan(far.scenario, far.table, "optimal")
    rows = {client.id: (client.cut, client.mode) for client in blind.clients}
    same = make_plan(far.scenario, far.table, "optimal", fixed={k: (c, str(m)) for k, (c, m) in rows.items()})
    assert aware.objective_s < same.objective_s
    assert {client.id: (client.cut, client.mode) for client in aware.clients} != rows
