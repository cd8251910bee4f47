"""Whole runs in which steps overlap: executors agree to the bit, and a stopped run goes on to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.run.rounds import TrainingResult, train
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario

PLACES = {
    "stash": [(1, "fo", 1), (2, "fo", 2), (3, "fo-recompute", 0), (2, "fo", 0), (4, "fo", 1), (7, "fo", 0)],
    "current": [(1, "fo", 1), (2, "zo-projection", 2), (3, "fo-recompute", 1), (2, "zo-projection", 0),
                (4, "fo-recompute", 2), (7, "fo", 0)],
}  # fmt: skip


def case(rule: str, *more: str) -> tuple[Scenario, list[Assignment]]:
    """Six clients, some of them one or two steps ahead."""
    overlap = ["training.overlap.staleness=[0,1,2]", f"training.overlap.gradient={rule}"]
    scenario = load_scenario("quickstart", ["training.local_steps=4", *overlap, *more])
    size = scenario.training.batch_size
    return scenario, [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=size, staleness=d), c.data_weight, 1 << 30)
        for c, (cut, mode, d) in zip(scenario.expanded_clients(), PLACES[rule], strict=True)
    ]


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.records == other.records
    assert one.peak_bytes == other.peak_bytes
    assert [name for name, tensor in one.state.items() if not torch.equal(tensor, other.state[name])] == []
    columns = ["client", "round", "phase", "bytes"]
    assert one.measured.table[columns].equals(other.measured.table[columns])


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("rule", ["stash", "current"])
def test_ray_gives_the_bits_of_one_process(rule: str) -> None:
    scenario, assignments = case(rule)
    with InlineExecutor(scenario) as executor:
        inline = train(scenario, assignments, executor, 2)
    with RayExecutor(scenario, 2) as cluster:
        assert_same(inline, train(scenario, assignments, cluster, 2))


@pytest.mark.parametrize("rule", ["stash", "current"])
def test_a_run_goes_on_to_the_same_bits(rule: str, tmp_path: Path) -> None:
    """With momentum that is kept, which late gradients enter as they come."""
    momentum = '{"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}'
    scenario, assignments = case(rule, "training.optimizer_state=keep", f"training.optimizer={momentum}")
    with InlineExecutor(scenario) as executor:
        whole = train(scenario, assignments, executor, 3)
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 1, checkpoint_folder=tmp_path)
    with InlineExecutor(scenario) as executor:
        resumed = train(scenario, assignments, executor, 3, checkpoint_folder=tmp_path, resume=True)
    assert resumed.records == whole.records
    assert [name for name, tensor in whole.state.items() if not torch.equal(tensor, resumed.state[name])] == []


@pytest.mark.parametrize("rule", ["stash", "current"])
def test_staleness_is_part_of_what_is_trained(rule: str) -> None:
    scenario, assignments = case(rule)
    waiting = [
        Assignment(a.client, a.placement.model_copy(update={"staleness": 0}), a.data_weight, a.memory_budget_bytes)
        for a in assignments
    ]
    with InlineExecutor(scenario) as executor:
        ahead, behind = (train(scenario, who, executor, 2) for who in (assignments, waiting))
    assert any(not torch.equal(tensor, behind.state[name]) for name, tensor in ahead.state.items())
    losses = [record.train_loss for record in ahead.records]
    assert losses[-1] < losses[0]
    columns = ["client", "round", "phase", "bytes"]
    assert ahead.measured.table[columns].equals(behind.measured.table[columns])
