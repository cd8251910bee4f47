"""Any vector of cuts gives the bits of one cut, for every family, and the gradients of the uncut model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hybridsplit.runtime.relays.messages import Downward, Upward
from hybridsplit.runtime.relays.stage import StageTraining
from hybridsplit.runtime.split.parts import task_loss
from hybridsplit.testing.families import DECODERS, FAMILIES, TRACED, family_batch, family_model, family_scenario
from tests.runtime.relays.chains import (
    CLIENT,
    assert_same_bits,
    random_stages,
    stages_at,
    trained,
    trained_over_one_cut,
)
from tests.tiers import one_of

STRIDES_MATTER = frozenset({"convnext"})
"""Their blocks hand on tensors that are not in row-major order, in which they arrive over a link: one cut differs from
another in the last bits."""
SETTINGS: list[dict[str, Any]] = [
    {},
    {"optimizer": {"name": "adamw", "learning_rate": 0.01}},
    {"optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}, "trainable": {"method": "biases-and-norms"}},
]


@pytest.mark.parametrize("family", one_of(8, sorted({*FAMILIES, *DECODERS, *TRACED} - STRIDES_MATTER)))
def test_weights_are_those_of_one_cut_to_the_bit(family: str) -> None:
    """Three steps, padded where the model reads a mask, over machines that may only forward."""
    rng = np.random.default_rng(len(family))
    for training in SETTINGS if family in FAMILIES else SETTINGS[:1]:
        scenario = family_scenario(family, local_steps=3, **training)
        padded = scenario.model.task != "image-classification" and family not in TRACED
        batches = [family_batch(scenario, padded=padded, seed=seed) for seed in range(3)]
        model = family_model(scenario)
        start = model.whole.snapshot()
        cut = int(rng.integers(1, model.num_blocks + 1))
        once = trained_over_one_cut(model, start, scenario, cut, batches)
        assert any(not torch.equal(once.state[name], start[name]) for name in start)
        for _ in range(6):
            stages = random_stages(rng, model.num_blocks)
            several = trained(model, start, scenario, stages, batches)
            assert_same_bits(several.state, once.state)
            assert several.report.train_loss == once.report.train_loss


@pytest.mark.parametrize("family", one_of(4, sorted(FAMILIES)))
def test_logits_loss_and_gradients_are_those_of_the_uncut_model(family: str) -> None:
    """Machine by machine, against one forward and backward of autograd."""
    scenario = family_scenario(family)
    batch = family_batch(scenario)
    model = family_model(scenario)
    model.whole.train()
    logits = model.whole(batch.inputs, batch.mask_BS)
    loss = task_loss(logits, batch.labels, scenario.model.task)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad.clone() for name, p in model.whole.trainable() if p.grad is not None}
    for _, parameter in model.whole.trainable():
        parameter.grad = None
    rng = np.random.default_rng(1)
    for _ in range(4):
        own = family_model(scenario)
        stages = random_stages(rng, own.num_blocks).working
        machines = [
            StageTraining(
                own.span(stage.start, stage.stop), scenario.training, scenario.model.task, micro_batches=1,
                trains_below=own.span(0, stage.start).num_trainable > 0, computes_loss=stage is stages[-1],
                measure_memory=False,
            )
            for stage in stages
        ]  # fmt: skip
        message: Upward | None = Upward(0, batch.inputs, batch.labels, batch.mask_BS)
        for machine in machines:
            assert message is not None
            reached = message
            message = machine.forward(message)
        torch.testing.assert_close(machines[-1].part(reached.h, reached.mask_BS), logits, rtol=1e-5, atol=1e-6)
        back = Downward(0)
        for machine in reversed(machines):
            back = machine.backward(back)
        for name, parameter in own.whole.trainable():
            if name in gradients:
                assert parameter.grad is not None, name
                torch.testing.assert_close(parameter.grad, gradients[name], rtol=2e-5, atol=2e-6, msg=name)
        machines[-1].update()
        assert machines[-1].losses == [pytest.approx(loss.item(), rel=1e-6)]


def test_a_machine_that_only_forwards_changes_nothing_but_the_links() -> None:
    scenario = family_scenario("vit", local_steps=2)
    batches = [family_batch(scenario, seed=seed) for seed in range(2)]
    model = family_model(scenario)
    start = model.whole.snapshot()
    direct = trained(model, start, scenario, stages_at((2,), model.num_blocks), batches)
    relayed = trained(model, start, scenario, stages_at((2, 2, 2), model.num_blocks), batches)
    assert_same_bits(relayed.state, direct.state)
    over = {
        run: [(p.node, p.phase, p.num_bytes) for p in outcome.report.places if ">" in p.node]
        for run, outcome in (("direct", direct), ("relayed", relayed))
    }
    assert [one[1:] for one in over["relayed"]] == [one[1:] for one in over["direct"]] * 3
    assert {one[0] for one in over["relayed"]} == {f"{CLIENT}>relay-1", "relay-1>relay-2", "relay-2>relay-3"}


def test_blocks_below_all_that_is_trained_get_no_gradient() -> None:
    """Adapters of the upper layers alone: nothing comes back to the machines below them."""
    lora = {"method": "lora", "rank": 2, "target_modules": ["query", "value"]}
    scenario = family_scenario("bert", local_steps=1, trainable=lora)
    model = family_model(scenario)
    for name, parameter in model.whole.named_parameters():
        if int(name.split(".")[1]) < 2:
            parameter.requires_grad_(False)
    outcome = trained(
        model, model.whole.snapshot(), scenario, stages_at((1, 2), model.num_blocks), [family_batch(scenario)]
    )
    returned = {p.node: p.num_bytes for p in outcome.report.places if p.phase == "downlink"}
    assert returned == {f"{CLIENT}>relay-1": 0, "relay-1>relay-2": 0}
