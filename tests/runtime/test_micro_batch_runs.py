"""Whole runs in micro-batches: executors agree to the bit, and a stopped run goes on to the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hybridsplit.profiler.options import profile_scenario
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.executors.ray import RayExecutor
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import Assignment, assignments_of
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan
from tests.runtime.test_overlap_runs import assert_same

VIT = (
    "model.config={model_type: vit, image_size: 16, patch_size: 4, num_channels: 1, hidden_size: 16, "
    "num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 32, num_labels: 10}"
)
ROOMY = [f"clients.{index}.memory_budget_bytes=64 MiB" for index in range(5)]
PLACES = [(1, "fo", 2), (2, "fo-recompute", 4), (3, "fo", 1), (2, "fo", 4), (4, "fo-recompute", 2), (5, "fo", 1)]


def case(*more: str) -> tuple[Scenario, list[Assignment]]:
    """Six clients with whole batches, halves and quarters."""
    keys = [VIT, *ROOMY, "training.local_steps=3", "training.overlap.micro_batches=[1,2,4]", *more]
    scenario = load_scenario("quickstart", keys)
    size = scenario.training.batch_size
    return scenario, [
        Assignment(c.id, Placement(cut=cut, mode=mode, batch_size=size, micro_batches=m), c.data_weight, 1 << 30)
        for c, (cut, mode, m) in zip(scenario.expanded_clients(), PLACES, strict=True)
    ]


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_bits_of_one_process() -> None:
    scenario, assignments = case()
    with InlineExecutor(scenario) as executor:
        inline = train(scenario, assignments, executor, 2)
    with RayExecutor(scenario, 2) as cluster:
        assert_same(inline, train(scenario, assignments, cluster, 2))


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """With momentum that is kept; and not at all with another number of parts."""
    momentum = '{"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}'
    scenario, assignments = case("training.optimizer_state=keep", f"training.optimizer={momentum}")
    with InlineExecutor(scenario) as executor:
        whole = train(scenario, assignments, executor, 3)
    with InlineExecutor(scenario) as executor:
        train(scenario, assignments, executor, 1, checkpoint_folder=tmp_path)
    others = [replace(a, placement=a.placement.model_copy(update={"micro_batches": 2})) for a in assignments]
    with InlineExecutor(scenario) as executor, pytest.raises(ContractError, match="another scenario or plan"):
        train(scenario, others, executor, 3, checkpoint_folder=tmp_path, resume=True)
    with InlineExecutor(scenario) as executor:
        resumed = train(scenario, assignments, executor, 3, checkpoint_folder=tmp_path, resume=True)
    assert resumed.records == whole.records
    assert [name for name, tensor in whole.state.items() if not torch.equal(tensor, resumed.state[name])] == []


def test_micro_batches_are_part_of_what_is_trained() -> None:
    """Other bits and nearly the same weights, since gradients are exact; the same bytes."""
    scenario, assignments = case()
    undivided = [replace(a, placement=a.placement.model_copy(update={"micro_batches": 1})) for a in assignments]
    with InlineExecutor(scenario) as executor:
        parts, whole = (train(scenario, who, executor, 2) for who in (assignments, undivided))
    assert any(not torch.equal(tensor, whole.state[name]) for name, tensor in parts.state.items())
    for name, tensor in parts.state.items():
        torch.testing.assert_close(tensor, whole.state[name], rtol=1e-3, atol=1e-4)
    columns = ["client", "round", "phase", "bytes"]
    assert parts.measured.table[columns].equals(whole.measured.table[columns])


@pytest.mark.slow
def test_a_plan_trains_and_sends_what_was_planned() -> None:
    """Byte by byte of every client and phase, at the peaks that were predicted."""
    scenario, _ = case("training.modes=[fo]", "training.frozen_control=false")
    rows = profile_scenario(scenario).table
    rows = rows[(rows["micro_batches"] == 4) & (rows["cut"] == 2) | (rows["cut"] == 3) & (rows["micro_batches"] == 2)]
    plan = make_plan(scenario, OptionTable(rows.reset_index(drop=True)))
    assert {client.micro_batches for client in plan.clients} <= {2, 4}
    with InlineExecutor(scenario) as executor:
        result = train(scenario, assignments_of(plan, scenario), executor, 1)
    index = ["client", "phase"]
    planned = plan.ledger(1).table.set_index(index)["bytes"]
    measured = result.measured.of(Source.MEASURED).set_index(index)["bytes"]
    assert measured[measured > 0].sort_index().to_dict() == planned[planned > 0].sort_index().to_dict()
    for client in plan.clients:
        assert result.peak_bytes[client.id] == pytest.approx(client.client_peak_bytes, rel=1e-3, abs=256)
