"""Memory that moves: whatever the trace, the bits are those of unlimited memory, and no step exceeds its budget."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from hybridsplit.orchestrator.training import Trained, train_by_plan
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.base import Executor
from hybridsplit.runtime.executors.inline import InlineExecutor, InlineState
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.run.rounds import Reading, TrainingResult, train
from hybridsplit.runtime.split.parts import State
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.ladder import LADDER
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import BudgetExceededError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from tests.tiers import one_of

ROUNDS = 3
SETTINGS = [
    "training.frozen_control=false", "training.rounds=3", "training.local_steps=4", "training.modes=[fo-recompute]",
    "clients.pi4.memory_budget_bytes=2 MiB", "clients.pi5.memory_budget_bytes=2 MiB",
    "clients.nano.memory_budget_bytes=2 MiB", "clients.phone.memory_budget_bytes=2 MiB",
]  # fmt: skip
KEPT = [
    "training.optimizer={name: adamw, learning_rate: 0.001}", "training.optimizer_state=keep",
    *(f"clients.{group}.memory_budget_bytes=4 MiB" for group in ("pi4", "pi5", "nano", "phone")),
]  # fmt: skip
"""Optimizer state that outlives rounds, with memory for it; BatchNorm and its statistics are quickstart's own."""
FOR_KEPT = 1.8
"""Times the memory that clients have which keep optimizer state."""


def write_trace(path: Path, seed: int, scale: float) -> Path:
    """Memory that moves between 0.45 and 2 MiB times a scale, every 2 to 50 ms: within steps and between them."""
    draw = random.Random(seed)
    lines, clock_s = [], 0.0
    while clock_s < 2.0:
        mebibytes = scale * draw.choice([draw.uniform(0.45, 0.9), draw.uniform(0.7, 2.0)])
        lines.append(f"{clock_s:.3f}\t{mebibytes:.4f}")
        clock_s += draw.choice([0.002, 0.005, 0.02, 0.05])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Case:
    """A scenario whose clients' memory moves, with its plan and what unlimited memory trains."""

    scenario: Scenario
    table: OptionTable
    plan: Plan
    unlimited: State


def case_of(folder: Path, seed: int, more: list[str]) -> Case:
    scale = FOR_KEPT if more == KEPT else 1.0
    traces = [
        f"clients.{group}.memory_trace={write_trace(folder / f'{group}-{seed}.tsv', 10 * seed + place, scale)}"
        for place, group in enumerate(("pi4", "nano", "orin"))
    ]
    scenario = load_scenario("quickstart", [*SETTINGS, *more, *traces])
    table = profile_scenario(scenario)
    plan = make_plan(scenario, table, "static")
    clients = [
        client.model_copy(update={"recompute": client.levels[0].recompute, "levels": ()}) if client.levels else client
        for client in plan.clients
    ]
    unlimited = plan.model_copy(update={"clients": tuple(clients)})
    with InlineExecutor(scenario) as executor:
        state = train(scenario, assignments_of(unlimited, scenario), executor, ROUNDS).state
    return Case(scenario, table, plan, state)


@pytest.fixture(scope="module", params=one_of(3, [1, 2, 4]))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    seed = request.param
    return case_of(tmp_path_factory.mktemp("memory"), seed, KEPT if seed % 2 else [])


def trained(case: Case, executor: Executor[InlineState]) -> Trained:
    return train_by_plan(
        case.plan, case.scenario, case.table, executor, ROUNDS, lambda what, share: None, with_control=False
    )


def assert_unlimited_bits(case: Case, state: State) -> None:
    assert state.keys() == case.unlimited.keys()
    assert all(torch.equal(state[name], case.unlimited[name]) for name in state)


def test_bits_are_those_of_unlimited_memory_and_no_step_exceeds_its_budget(case: Case) -> None:
    """Faults would stop the run: measured peaks of every new order are held against the budgets of its steps."""
    with InlineExecutor(case.scenario) as executor:
        result = trained(case, executor)
    assert_unlimited_bits(case, result.result.state)
    orders = {step.recompute for steps in result.replayed.step_memory.values() for step in steps}
    on_ladders = [client for client in case.plan.clients if client.recompute == LADDER]
    assert len(on_ladders) >= 3
    assert len(orders) >= 4, "steps were taken at several levels"
    assert any(" d" in order for order in orders), "some steps fell"
    assert not result.result.faults
    assert set(result.result.peak_bytes) == {client.id for client in case.plan.clients}


@pytest.mark.slow
def test_a_step_that_would_exceed_its_budget_stops_the_run(case: Case) -> None:
    """The same orders with budgets of a byte less than they take."""
    with InlineExecutor(case.scenario) as executor:
        steps = trained(case, executor).replayed.step_memory
        peaks = {
            (one.recompute): one.peak_bytes
            for client in case.plan.clients
            for level in client.levels
            for one in (level, *level.falls)
        }
        tight = {
            key: tuple(replace(step, after_bytes=peaks[step.recompute] - 1) for step in of_round)
            for key, of_round in steps.items()
        }
        with pytest.raises(BudgetExceededError, match="it had in step"):
            train(
                case.scenario,
                assignments_of(case.plan, case.scenario),
                executor,
                ROUNDS,
                clock=lambda attendance: Reading([1.0, 2.0, 3.0], (), tight),
            )


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(case: Case, tmp_path: Path) -> None:
    def run(rounds: int, *, resume: bool) -> TrainingResult:
        from hybridsplit.orchestrator.summary import round_ends_s
        from hybridsplit.runtime.replay import replay

        def clock(attendance: object) -> Reading:
            played = replay(case.plan, case.scenario, num_rounds=rounds, samples_windows=True)
            return Reading(round_ends_s(played), played.late, played.step_memory)

        with InlineExecutor(case.scenario) as executor:
            return train(
                case.scenario, assignments_of(case.plan, case.scenario), executor, rounds, clock=clock,
                checkpoint_folder=tmp_path, resume=resume,
            )  # fmt: skip

    run(2, resume=False)
    resumed = run(ROUNDS, resume=True)
    assert_unlimited_bits(case, resumed.state)


@pytest.mark.quiet
@pytest.mark.slow
def test_ray_trains_the_same_bits(case: Case) -> None:
    with RayExecutor(case.scenario, 2) as executor:
        result = trained(case, executor)  # type: ignore[arg-type]
    assert_unlimited_bits(case, result.result.state)
    assert not result.result.faults


@pytest.mark.slow
def test_leaving_for_want_of_memory_leaves_training_out(tmp_path: Path) -> None:
    """Memory of one client is below its floor for ever from 50 ms on: it takes no part, and the run goes on."""
    (tmp_path / "low.tsv").write_text("0\t2\n0.05\t0.1\n0.06\t0.1\n", encoding="utf-8")
    memory = f"clients.orin.memory_trace={{path: {tmp_path / 'low.tsv'}, below_floor: skip, past_the_end: hold}}"
    scenario = load_scenario("quickstart", [*SETTINGS, memory])
    table = profile_scenario(scenario)
    plan = make_plan(scenario, table, "static")
    assert plan.client("orin-0").recompute == LADDER
    with InlineExecutor(scenario) as executor:
        result = train_by_plan(plan, scenario, table, executor, ROUNDS, lambda what, share: None, with_control=False)
    gone = {one.round for one in result.replayed.late}
    assert {one.client for one in result.replayed.late} == {"orin-0"}
    trained_in = {record.round for record in result.result.clients if record.client == "orin-0"}
    assert trained_in == set(range(ROUNDS)) - gone
