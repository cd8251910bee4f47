"""Trained parameters in single precision under a model that computes in half precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hybridsplit.profiler.half_precision import kept_shares
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.profiler.options import build_options
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.models.master_weights import RoundedReads
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.split.optimizers import PartOptimizer
from hybridsplit.runtime.split.parts import SplitModel, task_loss
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import FAMILIES, TRACED, family_batch, family_scenario
from tests.modes import ZEROTH_ORDER_MODES
from tests.runtime import test_optimizers

SMALL_STEPS = {"name": "adamw", "learning_rate": 1e-5}


def scenario_of(family: str, masters: str = "float32", **training: object) -> Scenario:
    scenario = family_scenario(family, dtype="bfloat16", **training)
    return scenario.model_copy(update={"model": scenario.model.model_copy(update={"master_weights": masters})})


@pytest.mark.parametrize("family", ["opt-causal", "bert", "llama", "resnet", "gpt2", "deberta", "gemma2"])
def test_it_computes_as_half_precision_does_and_gradients_arrive_whole(family: str) -> None:
    """Same logits and, but for the last rounding, same gradients as the same weights in bfloat16 alone."""
    assert family in {**FAMILIES, **TRACED}
    batch, logits, gradients = None, [], []
    for masters in ("float32", "none"):
        scenario = scenario_of(family, masters)
        whole = SplitModel(build_blocks(scenario)).whole.eval()
        batch = batch or family_batch(scenario)
        assert {p.dtype for p in whole.parameters()} == {torch.float32 if masters == "float32" else torch.bfloat16}
        found = whole(batch.inputs, batch.mask_BS)
        task_loss(found, batch.labels, scenario.model.task).backward()
        logits.append(found.detach())
        gradients.append({name: p.grad for name, p in whole.trainable()})
    assert torch.equal(*logits)
    for name, gradient in gradients[0].items():
        if gradient is not None:
            other = gradients[1][name]
            assert gradient.dtype is torch.float32
            torch.testing.assert_close(gradient, other.float(), rtol=0.02, atol=0.02 * float(gradient.abs().max()))


def test_what_is_frozen_stays_in_half_precision() -> None:
    lora = {"method": "lora", "rank": 2, "target_modules": ["q_proj"]}
    whole = SplitModel(build_blocks(scenario_of("llama", trainable=lora))).whole
    assert {(p.requires_grad, p.dtype) for p in whole.parameters()} == {(True, torch.float32), (False, torch.bfloat16)}
    batch = family_batch(scenario_of("llama"))
    assert whole(batch.inputs).dtype is torch.bfloat16


def test_probes_are_added_in_single_precision_and_rounded_once() -> None:
    parameter = nn.Parameter(torch.linspace(0.5, 1.5, 64))
    named, key = [("blocks.0.weight", parameter)], NoiseKey(0, "client", "pi-0", 0, 0)
    with torch.no_grad(), Perturbed(named, key, 0, 0.01), RoundedReads(named, torch.bfloat16):
        read = parameter + 0
        assert parameter.dtype is torch.bfloat16
    assert parameter.dtype is torch.float32
    expected = parameter.detach() + 0.01 * key.draw("blocks.0.weight", 0, parameter)
    assert torch.equal(read, expected.to(torch.bfloat16))


@pytest.mark.parametrize(("masters", "all_move"), [("float32", True), ("none", False)])
def test_small_steps_are_kept(masters: str, all_move: bool) -> None:
    scenario = scenario_of("llama", masters, optimizer=SMALL_STEPS)
    whole = SplitModel(build_blocks(scenario)).whole
    start = whole.snapshot()
    optimizer = PartOptimizer(scenario.training.optimizer, whole.trainable())
    for step in range(3):
        batch = family_batch(scenario, seed=step)
        task_loss(whole(batch.inputs), batch.labels, scenario.model.task).backward()
        optimizer.step()
    norms = [name for name in start if start[name].dim() == 1]
    assert norms
    for name in norms:
        moved = dict(whole.trainable())[name] != start[name]
        assert bool(moved.all() if all_move else not moved.any()), name


@pytest.mark.parametrize("mode", sorted(ZEROTH_ORDER_MODES))
def test_replayed_scalars_give_the_clients_own_bits(mode: Mode) -> None:
    test_optimizers.check_replay("llama", mode, "adamw", "gaussian", dtype="bfloat16")


def test_progress_knows_of_steps_that_are_lost() -> None:
    scenario = scenario_of("bert", "none", optimizer=SMALL_STEPS)
    lost = kept_shares(scenario)
    assert lost is not None
    assert lost.min() < 0.1
    assert lost.max() < 0.9
    large = kept_shares(scenario_of("bert", "none", optimizer={"name": "adamw", "learning_rate": 0.1}))
    assert large is not None
    assert large.min() > 0.9
    assert kept_shares(scenario_of("bert")) is None
    profile = profile_model(scenario)
    assert np.allclose(profile.kept, lost)
    rated = [
        build_options(scenario, one).table.query("mode == 'fo'")["progress"].to_numpy()
        for one in (profile, replace(profile, kept=None))
    ]
    assert (rated[1] == 1.0).all()
    expected = float((profile.split * lost).sum())
    assert np.allclose(rated[0], expected)
