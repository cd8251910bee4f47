"""Checkpoints as they are found: in any precision, complete or not, with a head or without."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import block_graph, smashed_bytes, traced_model
from hybridsplit.runtime.models.build import build_blocks, build_model
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import Model, Scenario
from hybridsplit.testing.families import DECODERS, FAMILIES, TRACED, family_batch, family_scenario

STORED = (torch.float32, torch.bfloat16, torch.float16)


def saved(family: str, folder: Path, stored: torch.dtype = torch.float32) -> Scenario:
    """A family's scenario whose model is a checkpoint, stored in some precision."""
    scenario = family_scenario(family, local_steps=2, zeroth_order={"directions": 2})
    model = build_model(scenario, model_config(scenario.model), meta=False)
    model.to(stored).save_pretrained(folder)
    section = Model(task=scenario.model.task, checkpoint=str(folder))
    return scenario.model_copy(update={"model": section})


@pytest.mark.parametrize("stored", STORED, ids=["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", ["opt-causal", "llama", "bert", "gpt2", "gemma2", "gpt-neox", "mamba", "vit"])
def test_any_stored_precision_is_profiled_as_it_trains(family: str, stored: torch.dtype, tmp_path: Path) -> None:
    """Logits are transformers' own in single precision; bytes and peaks are those of the run."""
    scenario = saved(family, tmp_path, stored)
    traced, model = traced_model(scenario), SplitModel(build_blocks(scenario))
    batch = family_batch(scenario)
    config = model_config(scenario.model)
    auto: Any = {
        "causal-lm": transformers.AutoModelForCausalLM,
        "sequence-classification": transformers.AutoModelForSequenceClassification,
        "image-classification": transformers.AutoModelForImageClassification,
    }[scenario.model.task]
    theirs = auto.from_pretrained(tmp_path, config=config, dtype=torch.float32, trust_remote_code=False).eval()
    model.whole.eval()
    with torch.no_grad():
        expected = theirs(batch.inputs).logits
        torch.testing.assert_close(model.whole(batch.inputs), expected, rtol=1e-5, atol=1e-6)
    assert {p.dtype for p in traced.model.whole.parameters()} == {torch.float32}
    crossed = model.client_part(1)(batch.inputs)
    assert smashed_bytes(block_graph(traced), 1) == crossed.nbytes
    placement = Placement(cut=1, mode=Mode.FO, batch_size=scenario.training.batch_size)
    outcome = run_client_round(
        model, model.whole.snapshot(), Assignment("pi-0", placement, 1.0, 1 << 40),
        lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=True,
    )  # fmt: skip
    assert client_memory(traced, scenario, 1, Mode.FO).peak_bytes == outcome.report.peak_bytes


@pytest.mark.parametrize("key", ["dtype"])
@pytest.mark.parametrize("trained", ["float32", "bfloat16"])
def test_a_stored_precision_stated_by_value_does_not_change_what_is_trained(key: str, trained: str) -> None:
    scenario = family_scenario("llama", dtype=trained)
    alone = scenario.model.model_copy(update={"master_weights": "none"})
    scenario = scenario.model_copy(update={"model": alone})
    config = {**(scenario.model.config or {}), key: "float16"}
    other = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})
    for meta in (False, True):
        dtypes = [{p.dtype for b in build_blocks(one, meta=meta) for p in b.parameters()} for one in (scenario, other)]
        assert dtypes == [{getattr(torch, trained)}] * 2


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def both_refuse(scenario: Scenario, *needles: str) -> None:
    """Shapes for a plan and weights for a run are refused alike."""
    messages = []
    for meta in (True, False):
        with pytest.raises(ScenarioError) as caught:
            build_blocks(scenario, num_labels=3, meta=meta)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    for needle in needles:
        assert needle in messages[0]


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_keys_of_a_wrapper_are_named_with_the_wrapper(prefix: str, tmp_path: Path) -> None:
    scenario = saved("llama", tmp_path)
    rewritten(tmp_path, lambda state: {f"{prefix}{key}": value for key, value in state.items()})
    both_refuse(scenario, "model.checkpoint", repr(prefix), "torch.", "rename the keys")


def test_a_missing_layer_is_not_drawn(tmp_path: Path) -> None:
    scenario = saved("bert", tmp_path)
    rewritten(tmp_path, lambda state: {key: value for key, value in state.items() if ".layer.1." not in key})
    both_refuse(scenario, "lacks 16 weights", "bert.encoder.layer.1.")


def test_a_surplus_layer_is_not_dropped(tmp_path: Path) -> None:
    scenario = saved("llama", tmp_path)
    rewritten(tmp_path, lambda state: state | {k.replace("s.1.", "s.2."): v.clone() for k, v in state.items()})
    both_refuse(scenario, "has no place for", "model.layers.2.")


def test_weights_of_another_shape_are_not_drawn_anew(tmp_path: Path) -> None:
    scenario = saved("llama", tmp_path)
    rewritten(tmp_path, lambda state: state | {"model.norm.weight": torch.ones(24)})
    both_refuse(scenario, "model.norm.weight (24, needs 16)")


def test_weights_without_safetensors_are_refused_before_a_run(tmp_path: Path) -> None:
    scenario = saved("llama", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    both_refuse(scenario, "safetensors")


@pytest.mark.parametrize("family", ["bert", "llama-classes", "vit", "distilbert"])
def test_a_head_that_is_large_enough_is_kept(family: str, tmp_path: Path) -> None:
    assert family in {**FAMILIES, **DECODERS, **TRACED}
    scenario = saved(family, tmp_path)
    heads = []
    for num_labels in (2, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("error", InputWarning)
            heads.append(list(build_blocks(scenario, num_labels=num_labels)[-1].parameters())[-1])
    assert torch.equal(*heads)
    assert len(heads[0]) == model_config(scenario.model).num_labels


def test_a_head_with_too_few_classes_is_refused(tmp_path: Path) -> None:
    scenario = saved("bert", tmp_path)
    for meta in (True, False):
        with pytest.raises(ScenarioError, match=r"trained for 3 classes; the data has 4 .*without a classification"):
            build_blocks(scenario, num_labels=4, meta=meta)


def test_a_head_that_the_checkpoint_lacks_is_drawn_and_said(tmp_path: Path) -> None:
    causal = saved("llama", tmp_path)
    section = Model(task="sequence-classification", checkpoint=str(tmp_path))
    scenario = causal.model_copy(update={"model": section})
    for meta in (True, False):
        with pytest.warns(InputWarning, match=r"has no score\.weight: drawn from the seed"):
            blocks = build_blocks(scenario, num_labels=4, meta=meta)
        assert next(p for n, p in blocks[-1].named_parameters() if n == "head.weight").shape == (4, 16)


def test_a_base_model_needs_a_head_and_its_pooler_may_be_drawn(tmp_path: Path) -> None:
    scenario = saved("bert", tmp_path / "classes")
    base = transformers.BertModel.from_pretrained(
        tmp_path / "classes", add_pooling_layer=False, trust_remote_code=False
    )
    base.save_pretrained(tmp_path / "base")
    section = Model(task="sequence-classification", checkpoint=str(tmp_path / "base"))
    with pytest.warns(InputWarning, match="classifier.bias, classifier.weight"):
        build_blocks(scenario.model_copy(update={"model": section}), num_labels=3)
