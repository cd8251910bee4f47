"""How many machines share the micro-batches of a stage decides no bit, and neither do stages."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hybridsplit.orchestrator.ledger_sums import bytes_agree
from hybridsplit.orchestrator.relays.ledger import planned_entries, replayed_entries
from hybridsplit.runtime.executors.ray_relay_messages import packed_swapped, unpacked_swapped
from hybridsplit.runtime.relays.messages import Swapped
from hybridsplit.runtime.relays.sums import GradientSums, strides
from hybridsplit.runtime.split.link import Batch
from hybridsplit.scenarios.contracts.stages import Stages, replicas_in_use
from hybridsplit.scenarios.errors import BudgetExceededError, ContractError
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.testing.families import family_batch, family_model, family_scenario
from tests.runtime.relays.chains import assert_same_bits, random_stages, stages_at, trained
from tests.runtime.relays.runs import replicated_document, run_inline, small_plan
from tests.tiers import one_row_of

ADAMW = {"name": "adamw", "learning_rate": 0.01}


def tree_sum(gradients: list[torch.Tensor], partial_sums: int) -> torch.Tensor:
    """Written down again: sums in ascending order, then pairs half as far apart each time."""
    lanes = [gradients[lane::partial_sums] for lane in range(partial_sums)]
    sums = [sum(lane[1:], lane[0]) if lane else None for lane in lanes]
    while len(sums) > 1:
        half = len(sums) // 2
        pairs = zip(sums[:half], sums[half:], strict=True)
        sums = [left if right is None else left + right for left, right in pairs]
    assert sums[0] is not None
    return sums[0]


@given(st.integers(1, 13), st.integers(0, 4), st.integers(0, 4), st.integers(0, 2**31))
def test_replicas_end_with_the_sum_of_one_process(number: int, sums: int, most: int, seed: int) -> None:
    """Every power of two of replicas up to that of sums, and any number of micro-batches."""
    partial_sums = 2**sums
    replicas = replicas_in_use(2 ** min(sums, most), number)
    gradients = list(torch.randn(number, 5, generator=torch.Generator().manual_seed(seed)) * 10.0)
    parameters = [nn.Parameter(torch.zeros(5)) for _ in range(replicas)]
    machines = [GradientSums({"w": p}, partial_sums, at, replicas) for at, p in enumerate(parameters)]
    for at, (machine, parameter) in enumerate(zip(machines, parameters, strict=True)):
        for n in range(at, number, replicas):
            machine.begin(n)
            (parameter * gradients[n]).sum().backward()
            machine.end()
        machine.together()
    for stride in strides(replicas):
        swapped = [{name: tensor.clone() for name, tensor in machine.current().items()} for machine in machines]
        for at, machine in enumerate(machines):
            machine.add(swapped[at ^ stride])
    expected = tree_sum(gradients, partial_sums)
    assert all(parameter.grad is not None and torch.equal(parameter.grad, expected) for parameter in parameters)


def test_the_number_of_sums_decides_bits() -> None:
    gradients = list(torch.randn(8, 1000, generator=torch.Generator().manual_seed(0)))
    assert not torch.equal(tree_sum(gradients, 1), tree_sum(gradients, 4))


@given(st.dictionaries(st.integers(0, 63), st.floats(width=64), max_size=5), st.integers(0, 99))
def test_what_replicas_send_arrives_as_it_was(losses: dict[int, float], step: int) -> None:
    message = Swapped(step, 2, {"w": torch.randn(3, 2)}, dict.fromkeys(losses, 1 / 3), losses)
    arrived = unpacked_swapped(packed_swapped(message))
    assert (arrived.step, arrived.stride, arrived.weights) == (step, 2, message.weights)
    assert repr(arrived.losses) == repr(losses)
    assert torch.equal(arrived.gradients["w"], message.gradients["w"])


def first_of(batch: Batch, size: int) -> Batch:
    """The first samples of a batch."""
    return Batch(batch.inputs[:size], batch.labels[:size], None if batch.mask_BS is None else batch.mask_BS[:size])


def shared(stages: Stages, partial_sums: int, rng: np.random.Generator | None = None, replicas: int = 1) -> Stages:
    """The same machines, each of which but the client several; depths with which none waits for another."""
    counts, path, most = [], [stages.path[0]], stages.micro_batches
    if path[0].warm_up < stages.micro_batches:
        most = path[0].warm_up
    for stage in stages.path[1:]:
        drawn = replicas if rng is None else 2 ** int(rng.integers(0, partial_sums.bit_length()))
        count = 1 if stage.only_forwards else replicas_in_use(drawn, stages.micro_batches)
        share = -(-stages.micro_batches // count)
        depth = stage.warm_up if stage.only_forwards else max(1, min(stage.warm_up, share, 1 + (most - 1) // count))
        if not stage.only_forwards and depth < share:
            most = min(most, depth * count)
        counts.append((stage.node, count))
        path.append(stage._replace(warm_up=depth))
    replicated = tuple((node, count) for node, count in counts if count > 1)
    return replace(stages, path=tuple(path), partial_sums=partial_sums, replicas=replicated)


@pytest.mark.parametrize(
    ("family", "number"), one_row_of(4, itertools.product(["vit", "opt-causal", "bert"], [3, 4, 8]))
)
def test_stages_and_replicas_train_the_bits_of_one_process(family: str, number: int) -> None:
    scenario = family_scenario(family, local_steps=2, optimizer=ADAMW)
    drawn = [family_batch(scenario, padded=family != "vit", seed=seed) for seed in range(2)]
    batches = [first_of(batch, len(batch.inputs) // number * number) for batch in drawn]
    model = family_model(scenario)
    start = model.whole.snapshot()
    alone = shared(stages_at((), model.num_blocks, number, (number,)), 4)
    expected = trained(model, start, scenario, alone, batches)
    rng = np.random.default_rng(number)
    several = 0
    for _ in range(6):
        stages = shared(random_stages(rng, model.num_blocks, number), 4, rng)
        several = max([several, *(count for _, count in stages.replicas)])
        outcome = trained(model, start, scenario, stages, batches)
        assert_same_bits(outcome.state, expected.state)
        assert outcome.report.train_loss == expected.report.train_loss
    assert several > 1
    sequential = trained(model, start, scenario, stages_at((), model.num_blocks, number, (number,)), batches)
    if number > 3:
        assert any(not torch.equal(sequential.state[name], expected.state[name]) for name in start)


def test_the_gradient_is_that_of_plain_torch_in_the_stated_order() -> None:
    """Micro-batches one by one in a model that is not cut, summed as the text says, and divided once."""
    number, rate = 8, 0.1
    scenario = family_scenario("vit", local_steps=1)
    batch = family_batch(scenario)
    model = family_model(scenario)
    stages = shared(stages_at((1, 3), model.num_blocks, number, (number, number, number)), 4, replicas=4)
    outcome = trained(model, model.whole.snapshot(), scenario, stages, [batch])
    own = family_model(scenario).whole
    own.train()
    found: dict[str, list[torch.Tensor]] = {}
    for inputs, labels in zip(batch.inputs.chunk(number), batch.labels.chunk(number), strict=True):
        F.cross_entropy(own(inputs), labels).backward()  # type: ignore[no-untyped-call]
        for name, parameter in own.named_parameters():
            if parameter.grad is not None:
                found.setdefault(name, []).append(parameter.grad)
                parameter.grad = None
    for name, parameter in own.named_parameters():
        if name in found:
            parameter.grad = tree_sum(found[name], 4) / number
    torch.optim.SGD(own.parameters(), rate).step()
    assert_same_bits(outcome.state, own.snapshot())


def test_plan_replay_and_run_agree_and_the_plan_bounds_memory_of_every_replica() -> None:
    scenario = validate_relays(replicated_document(), "replicated")
    plan = small_plan(scenario)
    assert max(part.replicas for client in plan.clients for part in client.placement) == 2
    found = run_inline(scenario, plan)
    ids = [client.id for client in plan.clients]
    entries = list(found.result.measured.entries())
    for number, played in enumerate(found.played):
        assert played.value_s == pytest.approx(plan.value_s, rel=1e-9)
        entries += [*planned_entries(plan, scenario, number, ids), *replayed_entries(played, number)]
    assert bytes_agree(entries)
    for client in plan.clients:
        peaks = found.result.node_peak_bytes[client.id] | {client.id: found.result.peak_bytes[client.id]}
        for part in client.placement:
            for name in (part.node, *(f"{part.node}/{at}" for at in range(1, part.replicas))):
                assert peaks[name] <= part.peak_bytes <= 1.7 * peaks[name]


def test_a_run_goes_on_to_the_bits_of_one_machine_a_node_and_not_with_other_sums(tmp_path: Path) -> None:
    """Moments are kept once, whoever adds to them."""
    kept: dict[str, Any] = {"optimizer": ADAMW, "optimizer_state": "keep", "rounds": 2}
    several, one = (validate_relays(replicated_document(count, **kept), "kept") for count in (2, 1))
    whole = run_inline(one, small_plan(one), 2).result
    run_inline(several, small_plan(several), 1, checkpoints=tmp_path / "checkpoints")
    again = run_inline(several, small_plan(several), 2, checkpoints=tmp_path / "checkpoints", resume=True).result
    assert_same_bits(again.state, whole.state)
    assert [record.train_loss for record in again.records] == [record.train_loss for record in whole.records]
    other = validate_relays(replicated_document(2, partial_sums=4, **kept), "other sums")
    plan = small_plan(several).model_copy(update={"scenario": other.resolved()})
    with pytest.raises(ContractError, match="belongs to another scenario or plan"):
        run_inline(other, plan, 2, checkpoints=tmp_path / "checkpoints", resume=True)


def test_a_replica_with_too_little_memory_stops_the_run_by_name() -> None:
    scenario = validate_relays(replicated_document(), "replicated")
    document = replicated_document()
    document["network"]["nodes"][3]["memory_bytes"] = 1 << 14
    with pytest.raises(BudgetExceededError, match=r"node cloud: the blocks of all clients used"):
        run_inline(validate_relays(document, "tight"), small_plan(scenario))
