"""The number of micro-batches states an arithmetic: who computes where, and in what order, does not change a bit."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from hybridsplit.runtime.relays.order import forward_turns
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import Part, task_loss
from hybridsplit.testing.families import family_batch, family_model, family_scenario
from tests.runtime.relays.chains import assert_same_bits, random_stages, stages_at, trained, trained_over_one_cut
from tests.tiers import one_row_of

RATE = 0.1


@pytest.mark.parametrize(
    ("family", "number"), one_row_of(4, itertools.product(["vit", "opt-causal", "bert"], [2, 4, 8]))
)
def test_where_and_in_what_order_machines_work_does_not_change_a_bit(family: str, number: int) -> None:
    scenario = family_scenario(family, local_steps=2, optimizer={"name": "adamw", "learning_rate": 0.01})
    batches = [family_batch(scenario, padded=family != "vit", seed=seed) for seed in range(2)]
    model = family_model(scenario)
    start = model.whole.snapshot()
    alone = trained(model, start, scenario, stages_at((), model.num_blocks, number, (number,)), batches)
    rng = np.random.default_rng(number)
    for _ in range(5):
        outcome = trained(model, start, scenario, random_stages(rng, model.num_blocks, number), batches)
        assert_same_bits(outcome.state, alone.state)
        assert outcome.report.train_loss == alone.report.train_loss
    whole = trained_over_one_cut(model, start, scenario, 1, batches)
    assert any(not torch.equal(whole.state[name], alone.state[name]) for name in start)


@pytest.mark.parametrize("number", [2, 4, 8])
def test_the_gradient_is_the_mean_of_those_of_the_parts(number: int) -> None:
    """Written down again in plain torch: sum in ascending order, divide once, step."""
    scenario = family_scenario("vit", local_steps=1)
    batch = family_batch(scenario)
    model = family_model(scenario)
    start = model.whole.snapshot()
    outcome = trained(model, start, scenario, stages_at((1, 3), model.num_blocks, number, (2, 2, 1)), [batch])
    own = family_model(scenario).whole
    own.train()
    for inputs, labels in zip(batch.inputs.chunk(number), batch.labels.chunk(number), strict=True):
        F.cross_entropy(own(inputs), labels).backward()  # type: ignore[no-untyped-call]
    for parameter in own.parameters():
        if parameter.grad is not None:
            parameter.grad /= number
    torch.optim.SGD(own.parameters(), RATE).step()
    assert_same_bits(outcome.state, own.snapshot())


@pytest.mark.parametrize("number", [2, 4, 8])
def test_padding_weighs_nothing_however_it_falls_on_the_parts(number: int) -> None:
    """The mean is over all tokens of the batch that count, as of the whole batch at once, up to rounding."""
    scenario = family_scenario("opt-causal", local_steps=1, optimizer={"name": "sgd", "learning_rate": RATE})
    batch = family_batch(scenario, padded=True)
    assert batch.mask_BS is not None
    labels = batch.labels.clone()
    labels[:2] = -100
    batch = Batch(batch.inputs, labels, batch.mask_BS)
    model = family_model(scenario)
    start = model.whole.snapshot()
    whole = trained(model, start, scenario, stages_at((2,), model.num_blocks), [batch])
    parts = trained(model, start, scenario, stages_at((2,), model.num_blocks, number, (2, 1)), [batch])
    assert parts.report.train_loss == pytest.approx(whole.report.train_loss, rel=1e-6)
    for name, tensor in whole.state.items():
        torch.testing.assert_close(parts.state[name], tensor, rtol=1e-5, atol=1e-6)
        assert bool(tensor.isfinite().all())


@pytest.fixture
def one_rank() -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())  # type: ignore[attr-defined]
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("number", [2, 4, 8])
def test_torch_pipelining_adds_and_divides_the_same_way(one_rank: None, number: int) -> None:
    """GPipe of ``torch.distributed.pipelining`` on one stage: its gradients, to the bit."""
    scenario = family_scenario("vit", local_steps=1)
    batch = family_batch(scenario)
    model = family_model(scenario)
    start = model.whole.snapshot()
    outcome = trained(model, start, scenario, stages_at((2, 3), model.num_blocks, number, (2, 2, 1)), [batch])
    peer = _Logits(copy.deepcopy(family_model(scenario).whole))
    peer.train()
    stage = PipelineStage(peer, 0, 1, torch.device("cpu"))
    schedule = ScheduleGPipe(
        stage, number, loss_fn=lambda logits, labels: task_loss(logits, labels, "image-classification")
    )
    schedule.step(batch.inputs, target=batch.labels)
    torch.optim.SGD(peer.parameters(), RATE).step()
    assert_same_bits(outcome.state, peer.part.snapshot())


class _Logits(nn.Module):
    """A part that takes samples alone."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] to [B, K]."""
        return self.part(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("warm_up", "micro_batches"), [(1, 1), (1, 4), (3, 4), (4, 4), (2, 7)])
def test_an_order_holds_as_many_micro_batches_as_its_warm_up(warm_up: int, micro_batches: int) -> None:
    held = most = done = 0
    for is_forward in forward_turns(warm_up, micro_batches):
        held += 1 if is_forward else -1
        done += is_forward
        most = max(most, held)
        assert held >= 0
    assert (most, held, done) == (warm_up, 0, micro_batches)
