"""DoRA: exact gradients over a cut are PEFT's own in the whole model; peaks, export, and modes that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.estimators import make_estimator
from hybridsplit.runtime.models.build import build_whole
from hybridsplit.runtime.models.saved import save_trained
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.parts import SplitModel, task_loss
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_batch, family_model, family_scenario
from tests.runtime.steps import KEY
from tests.tiers import one_of

FAMILIES = ("opt-causal", "bert", "resnet")
EXACT = ["fo", "fo-recompute", "frozen"]
RATE = 0.1


def with_dora(family: str, **training: Any) -> Scenario:
    targets: Any = ["convolution"] if family == "resnet" else "all-linear"
    lora = {"method": "lora", "rank": 2, "target_modules": targets, "dora": True}
    return family_scenario(family, trainable=lora, modes=EXACT, **training)


def moved(scenario: Scenario) -> tuple[Any, SplitModel]:
    """The whole model of transformers and PEFT, and ours, which share parameters that no initial value is left of."""
    model, blocks = build_whole(scenario)
    split = SplitModel(blocks)
    generator = torch.Generator().manual_seed(5)
    split.whole.load(
        {n: t + 0.1 * torch.rand(t.shape, generator=generator) for n, t in split.whole.exchanged().items()}
    )
    return model, split


@pytest.mark.parametrize("mode", [Mode.FO, Mode.FO_RECOMPUTE])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_over_a_cut_is_that_of_the_whole_model(family: str, mode: Mode) -> None:
    """Against autograd through the model as transformers and PEFT run it, in which no block is known."""
    scenario = with_dora(family, optimizer={"name": "sgd", "learning_rate": RATE})
    model, split = moved(scenario)
    batch = family_batch(scenario)
    words = {"pixel_values": batch.inputs} if batch.inputs.is_floating_point() else {"input_ids": batch.inputs}
    if batch.mask_BS is not None:
        words["attention_mask"] = batch.mask_BS.long()
    start = split.whole.snapshot()
    loss = task_loss(model.train()(**words).logits, batch.labels, scenario.model.task)
    names = dict(split.whole.trainable())
    gradients = dict(zip(names, torch.autograd.grad(loss, list(names.values()), allow_unused=True), strict=True))
    assert sum("lora_magnitude_vector" in name for name in names) >= 2
    for cut in range(2, split.num_blocks):
        split.whole.load(start)
        part, server = split.client_part(cut), split.server_part(cut)
        estimator = make_estimator(mode, part, scenario.training)
        link = ServerSide(server, scenario.training, scenario.model.task)
        run_step(estimator, family_batch(scenario), link, KEY, None)
        estimator.close()
        for name, parameter in part.trainable():
            gradient = gradients[name]
            assert gradient is not None
            expected = start[name] - RATE * gradient
            assert torch.allclose(parameter, expected, rtol=1e-4, atol=1e-6), (cut, name)
            if "magnitude" in name and family != "resnet":  # normalisation after a convolution undoes its scale
                assert not torch.equal(parameter, start[name])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", one_of(3, FAMILIES))
def test_predicted_peak_equals_the_measured_one(family: str, dtype: str) -> None:
    adamw = {"name": "adamw", "learning_rate": 0.01}
    scenario = with_dora(family, dtype=dtype, local_steps=2, optimizer=adamw)
    traced, model = traced_model(scenario), family_model(scenario)
    start = model.whole.snapshot()
    for cut in (2, model.num_blocks):
        for mode in (Mode.FO, Mode.FO_RECOMPUTE):
            placement = Placement(cut=cut, mode=mode, batch_size=scenario.training.batch_size)
            outcome = run_client_round(
                model, start, Assignment("pi-0", placement, 1.0, 1 << 40),
                lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=True,
            )  # fmt: skip
            predicted = client_memory(traced, scenario, cut, mode).peak_bytes
            assert predicted == pytest.approx(outcome.report.peak_bytes, rel=0.001, abs=8), (cut, mode)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_exported_loads_with_peft_to_the_same_bits(family: str, tmp_path: Path) -> None:
    scenario = with_dora(family)
    model, _ = moved(scenario)
    batch = family_batch(scenario)
    words = {"pixel_values": batch.inputs} if batch.inputs.is_floating_point() else {"input_ids": batch.inputs}
    if batch.mask_BS is not None:
        words["attention_mask"] = batch.mask_BS.long()
    with torch.no_grad():
        expected = model.eval()(**words).logits
    loads_with = save_trained(model, scenario, tmp_path)
    found = eval(loads_with, {"transformers": transformers, "peft": peft, "folder": str(tmp_path)})
    with torch.no_grad():
        assert torch.equal(found.eval()(**words).logits, expected)
    assert found.peft_config["default"].use_dora


@pytest.mark.parametrize("mode", ["zo-projection", "zo-loss"])
def test_modes_that_would_estimate_another_gradient_are_refused(mode: str) -> None:
    lora = {"method": "lora", "rank": 2, "dora": True}
    with pytest.raises(ScenarioError, match=rf"trainable.dora: found true while modes lists {mode};.*norms"):
        family_scenario("opt-causal", trainable=lora, modes=["fo", mode])


def test_the_gradient_of_peft_is_not_the_derivative_of_its_forward_pass() -> None:
    """Why they are refused: with the norms differentiated as well, adapters have another gradient."""
    base = torch.nn.Linear(6, 4)
    network = torch.nn.Sequential(base)
    config = peft.LoraConfig(r=2, target_modules=["0"], use_dora=True, init_lora_weights=False)
    torch.manual_seed(0)
    peft.inject_adapter_in_model(config, network)
    network.double()
    x = torch.randn(3, 6, dtype=torch.float64)
    adapter = network[0].lora_B["default"].weight
    (gradient,) = torch.autograd.grad(network(x).square().sum(), adapter)
    step = 1e-6 * torch.randn_like(adapter)
    with torch.no_grad():
        before = adapter.clone()
        ends = []
        for sign in (1, -1):
            adapter.copy_(before + sign * step)
            ends.append(network(x).square().sum())
    measured = float(ends[0] - ends[1]) / 2
    assert abs(measured - float((gradient * step).sum())) > 0.01 * abs(measured)
