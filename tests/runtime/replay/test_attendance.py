"""Partial participation: plan, replay and run agree on who takes part, and on every byte."""

from __future__ import annotations

import pytest

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.data.participation import draw_attendance
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.solver.planner import make_plan

SETTINGS = ["training.participation=0.5", "training.local_steps=2", "training.rounds=5"]
PREFIX = ["training.modes=[zo-projection, zo-loss]", "training.zo_prefix_blocks=1"]
ROUNDS = 5


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("optimal", []),
        ("static", []),
        ("static", PREFIX),
        ("splitfed", ["training.server_model=shared-mean"]),
        ("time-shared", []),
        ("time-shared", ["training.server_model=shared-sequential"]),
        ("split-sequential", []),
    ],
)
def test_absent_clients_cost_nothing_and_nobody_waits_for_them(strategy: str, more: list[str]) -> None:
    roomy = [f"clients.{i}.memory_budget_bytes=1 GiB" for i in range(len(load_scenario("quickstart").clients))]
    scenario = load_scenario("quickstart", [*SETTINGS, *roomy, *more])
    plan = make_plan(scenario, profile_scenario(scenario), strategy)
    present = draw_attendance(scenario, [client.id for client in plan.clients], ROUNDS)
    assert all(len(taking_part) == 3 for taking_part in present.rounds)
    replayed = replay(plan, scenario, num_rounds=ROUNDS)
    with InlineExecutor(scenario) as executor:
        trained = train(scenario, assignments_of(plan, scenario), executor, ROUNDS, schedule=plan.schedule)
    key = ["client", "round", "phase"]
    planned = plan.ledger(ROUNDS, present).table.set_index(key)["bytes"]
    assert set(planned.index) == set(replayed.ledger.table.set_index(key).index)
    measured = trained.measured.table.set_index(key)["bytes"]
    for where, size in replayed.ledger.table.set_index(key)["bytes"].items():
        assert size == planned[where], where
        if where[2] != Phase.BARRIER:
            assert size == measured[where], where
    caught_up = sum(sum(taking_part.values()) for taking_part in present.rounds)
    assert (caught_up > 0) == (more == PREFIX)
    if strategy in ("static", "splitfed") and not more:
        for taking_part, latency_s in zip(present.rounds, replayed.round_latency_s, strict=True):
            assert latency_s == pytest.approx(max(plan.client(c).latency_s for c in taking_part), rel=1e-9)
    assert all(latency_s <= plan.round_latency_s * (1 + 1e-9) + 1e-3 for latency_s in replayed.round_latency_s)
