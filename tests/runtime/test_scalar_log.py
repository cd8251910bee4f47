"""Dimension-free aggregation: scalars alone reconstruct the common blocks, whatever rounds a client missed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound, ScalarLog, replay_rounds
from hybridsplit.runtime.data.participation import participants
from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.executors.base import RoundTask
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.state_files import load_states
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.run.rounds import train
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel, State, block_of
from hybridsplit.runtime.worker.groups import groups_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from tests.modes import ZEROTH_ORDER_MODES

PREFIX = 2


def scenario_with(*settings: str) -> Scenario:
    return load_scenario(
        "quickstart",
        [
            "training.modes=[zo-projection, zo-loss]", f"training.zo_prefix_blocks={PREFIX}",
            "training.zeroth_order={directions: 3, radius: 1.0e-3, optimizer: {name: sgd, learning_rate: 1.0e-3}}",
            "training.local_steps=2", "training.frozen_control=false", *settings,
        ],
    )  # fmt: skip


def assignments_of(scenario: Scenario, mode: Mode) -> list[Assignment]:
    clients = scenario.expanded_clients()
    return [
        Assignment(
            c.id, Placement(cut=2 + i % 2, mode=mode, batch_size=scenario.training.batch_size), c.data_weight, 1 << 30
        )
        for i, c in enumerate(clients)
    ]


def prefix_of(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if block_of(name) < PREFIX}


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_averaged_scalars_are_the_average_of_the_clients_own_steps(mode: Mode) -> None:
    """True over several local steps, since plain SGD is linear in the scalars and all clients share the directions."""
    scenario = scenario_with()
    assignments = assignments_of(scenario, mode)
    samples = load_dataset(scenario).train
    index = partition(samples, scenario)
    model = SplitModel(build_blocks(scenario))
    start = model.whole.snapshot()
    trust = {2: 1 / model.client_part(2).num_trainable, 3: 1 / model.client_part(3).num_trainable}
    expected = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in prefix_of(start).items()}
    total = 0.0
    for who in assignments:

        def draw(step: int, client: str = who.client) -> Batch:
            return draw_batch(samples, index[client], scenario, client, step)

        own = run_client_round(model, start, who, draw, scenario, 0, measure_memory=False).state
        dimension = 1 / trust[who.placement.cut]
        weight = who.data_weight * 3 / (dimension + 2)
        total += weight
        for name, sum_ in expected.items():
            sum_.add_(own[name].double(), alpha=weight)
    with InlineExecutor(scenario) as executor:
        found = train(scenario, assignments, executor, 1).state
    moved = 0.0
    for name, sum_ in expected.items():
        torch.testing.assert_close(found[name].double(), sum_ / total, rtol=1e-5, atol=1e-6)
        moved += float((found[name] - start[name]).abs().sum())
    assert moved > 0


def test_a_client_that_missed_rounds_catches_up_to_the_bit(tmp_path: object) -> None:
    scenario = scenario_with("training.participation=0.34", "training.rounds=6")
    assignments = assignments_of(scenario, Mode.ZO_PROJECTION)
    clients = [a.client for a in assignments]
    after: list[State] = []
    with InlineExecutor(scenario) as executor:
        original = executor.train_round
        logged: list[AveragedRound] = []
        after.append(executor.fetch(executor.initial_state()))

        def train_round(handle, task):  # type: ignore[no-untyped-def]
            outcome = original(handle, task)
            assert outcome.averaged is not None
            logged.append(outcome.averaged)
            after.append(executor.fetch(outcome.handle))
            return outcome

        executor.train_round = train_round  # type: ignore[method-assign]
        result = train(scenario, assignments, executor, 6)
    model = SplitModel(build_blocks(scenario))
    for last in range(6):
        caught_up = replay_rounds(model, after[last], scenario, logged[last:])
        for name, tensor in prefix_of(result.state).items():
            assert torch.equal(caught_up[name], tensor), f"{name}, from round {last}"
    # The ledger: nothing of the prefix comes down but what was missed.
    table = result.measured.table
    down = table[table["phase"] == Phase.MODEL_DOWNLOAD].set_index(["client", "round"])["bytes"]
    last_round = dict.fromkeys(clients, -1)
    for round_index in range(6):
        for who in assignments:
            if who.client not in participants(clients, 0.34, scenario.seed, round_index):
                continue
            above = [t for n, t in model.client_part(who.placement.cut).exchanged().items() if block_of(n) >= PREFIX]
            weights = sum(t.numel() * t.element_size() for t in above)
            missed = round_index - 1 - last_round[who.client]
            assert down[who.client, round_index] == weights + missed * 2 * (3 + 1) * 4
            last_round[who.client] = round_index


def test_the_log_survives_a_checkpoint(tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenario = scenario_with("training.participation=0.34")
    assignments = assignments_of(scenario, Mode.ZO_PROJECTION)
    with InlineExecutor(scenario) as executor:
        whole = train(scenario, assignments, executor, 4)
        train(scenario, assignments, executor, 2, checkpoint_folder=tmp_path)
        resumed = train(scenario, assignments, executor, 4, checkpoint_folder=tmp_path, resume=True)
    assert whole.records == resumed.records
    assert whole.measured.table["bytes"].tolist() == resumed.measured.table["bytes"].tolist()
    state, _ = load_states(tmp_path / "round-000004")
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.state.items())


def test_the_first_state_survives_a_replay() -> None:
    """A resumed run replays before anybody asks for the first state, from which its control starts."""
    scenario = scenario_with()
    assignments = assignments_of(scenario, Mode.ZO_PROJECTION)
    with InlineExecutor(scenario) as executor:
        start = executor.initial_state()
        task = RoundTask(0, groups_of(assignments))
        after = executor.fetch(executor.train_round(start, task).handle)
    with InlineExecutor(scenario) as another:
        another.train_round(start, task)
        found = another.fetch(another.initial_state())
    assert all(torch.equal(found[name], tensor) for name, tensor in start.state.items())
    assert any(not torch.equal(found[name], tensor) for name, tensor in prefix_of(after).items())


CLIENTS = ["a", "b", "c", "d"]


@given(
    st.lists(st.sets(st.sampled_from(CLIENTS), min_size=1), max_size=12), st.sets(st.sampled_from(CLIENTS), max_size=2)
)
def test_the_log_keeps_what_somebody_needs_and_nothing_else(history: list[set[str]], gone: set[str]) -> None:
    log = ScalarLog(CLIENTS)
    for round_index, taking_part in enumerate(history):
        log.add(AveragedRound(round_index, ((float(round_index),),)), round_index, taking_part)
    log.forget(gone)
    staying = [client for client in CLIENTS if client not in gone]
    needed: set[int] = set()
    for client in staying:
        last = max((r for r, taking_part in enumerate(history) if client in taking_part), default=-1)
        missed = [one.round for one in log.missed(client)]
        assert missed == list(range(last + 1, len(history)))
        needed |= set(missed)
    assert {one.round for one in log.rounds} == needed
