"""Numbers to predict, and several labels of a sample, over several machines: the bits of one cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.relays.messages import Downward, Upward
from hybridsplit.runtime.relays.stage import StageTraining
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import task_loss
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import SINGLE_LABEL
from tests.runtime.problem_types import PROBLEMS, first_batch, problem
from tests.runtime.relays.chains import assert_same_bits, random_stages, trained, trained_over_one_cut
from tests.tiers import one_of

KINDS = [*PROBLEMS, (SINGLE_LABEL, 2)]
ORIGINS = ("own", "bert", "vit", "distilbert")


def made(folder: Path, origin: str, kind: str, outputs: int, **training: Any) -> Scenario:
    """A scenario by what a label is; classes are the numbers of one column."""
    if kind != SINGLE_LABEL:
        return problem(folder, origin, kind, outputs, **training)
    scenario = problem(folder, origin, "multi_label_classification", 1, **training)
    document = scenario.resolved()
    document["model"] |= {"problem_type": SINGLE_LABEL}
    if origin == "own":
        document["model"]["arguments"] = {"outputs": outputs}
    else:
        document["model"]["config"] |= {"num_labels": outputs}
    text = (folder / "mine.py").read_text(encoding="utf-8")
    flat = text.replace("list(zip(inputs, targets))", "[(x, int(y)) for x, y in zip(inputs, targets)]")
    (folder / "mine.py").write_text(flat, encoding="utf-8")
    return validate_scenario(document, "classes", folder)


def batches_of(scenario: Scenario) -> list[Batch]:
    return [first_batch(scenario, step) for step in range(3)]


@pytest.mark.parametrize(("kind", "outputs"), KINDS)
@pytest.mark.parametrize("origin", one_of(2, list(ORIGINS)))
def test_weights_and_losses_are_those_of_one_cut(tmp_path: Path, origin: str, kind: str, outputs: int) -> None:
    scenario = made(tmp_path, origin, kind, outputs, local_steps=3, batch_size=8)
    model = split_model(scenario, dataset=load_dataset(scenario))
    start, batches = model.whole.snapshot(), batches_of(scenario)
    once = trained_over_one_cut(model, start, scenario, 1, batches)
    assert any(not torch.equal(once.state[name], start[name]) for name in start)
    rng = np.random.default_rng(outputs)
    for _ in range(4):
        several = trained(model, start, scenario, random_stages(rng, model.num_blocks), batches)
        assert_same_bits(several.state, once.state)
        assert several.report.train_loss == once.report.train_loss


@pytest.mark.parametrize(("kind", "outputs"), KINDS)
def test_gradients_of_micro_batches_are_those_of_the_whole_batch(tmp_path: Path, kind: str, outputs: int) -> None:
    """The mean of equal parts' means is the mean of all, against autograd on the uncut model."""
    scenario = made(tmp_path, "own", kind, outputs, local_steps=1, batch_size=8)
    batch = first_batch(scenario)
    model = split_model(scenario, dataset=load_dataset(scenario))
    loss = task_loss(model.whole(batch.inputs), batch.labels, scenario.model.loss_kind)
    loss.backward()  # type: ignore[no-untyped-call]
    wanted = {name: one.grad.clone() for name, one in model.whole.trainable() if one.grad is not None}
    for _, one in model.whole.trainable():
        one.grad = None
    machine = StageTraining(
        model.whole, scenario.training, scenario.model.loss_kind, micro_batches=4, trains_below=False,
        computes_loss=True, measure_memory=False,
    )  # fmt: skip
    for number in range(4):
        part = slice(2 * number, 2 * number + 2)
        machine.forward(Upward(number, batch.inputs[part], batch.labels[part]))
        machine.backward(Downward(number))
    machine.sum_up()
    for name, one in model.whole.trainable():
        assert one.grad is not None
        torch.testing.assert_close(one.grad / 4, wanted[name], rtol=1e-4, atol=1e-6, msg=name)
    machine.update()
    assert machine.losses == [pytest.approx(loss.item(), rel=1e-5)]


@pytest.mark.parametrize(("kind", "outputs"), KINDS)
@pytest.mark.parametrize("micro_batches", [2, 4])
def test_neither_cuts_nor_warm_ups_decide_bits_with_micro_batches(
    tmp_path: Path, kind: str, outputs: int, micro_batches: int
) -> None:
    scenario = made(tmp_path, "own", kind, outputs, local_steps=3, batch_size=8)
    model = split_model(scenario, dataset=load_dataset(scenario))
    start, batches = model.whole.snapshot(), batches_of(scenario)
    rng = np.random.default_rng(micro_batches)
    found = [
        trained(model, start, scenario, random_stages(rng, model.num_blocks, micro_batches), batches) for _ in range(4)
    ]
    for other in found[1:]:
        assert_same_bits(other.state, found[0].state)
        assert other.report.train_loss == found[0].report.train_loss
