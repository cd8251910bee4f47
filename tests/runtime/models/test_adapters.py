"""Low-rank adapters: which modules may be named, and what is said of others."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from hybridsplit import load
from hybridsplit.profiler.memory import client_memory
from hybridsplit.profiler.models import traced_model
from hybridsplit.runtime.models.build import build_blocks, build_model, build_whole
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.runtime.models.saved import save_trained
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model, Scenario
from hybridsplit.testing.families import family_batch, family_model, family_scenario


def adapted(family: str, **lora: Any) -> Scenario:
    return family_scenario(family, trainable={"method": "lora", "rank": 2, **lora})


def trained_names(scenario: Scenario) -> list[str]:
    blocks = build_blocks(scenario, meta=True)
    return [name for block in blocks for name, p in block.named_parameters() if p.requires_grad]


@pytest.mark.parametrize("family", ["gpt2-classes", "llama", "qwen3-classes", "deberta", "vit"])
def test_all_linear_adapts_every_linear_module_but_the_head(family: str) -> None:
    blocks = build_blocks(adapted(family, target_modules="all-linear"), meta=True)
    without: list[str] = []
    for block in blocks:
        for name, module in block.named_modules():
            if isinstance(module, torch.nn.Linear) and "lora_" not in name and not name.endswith("base_layer"):
                without.append(name)
    # What is left of a classifier is its head, trained whole; of a language model the projection to the vocabulary.
    assert 1 <= len(without) <= 2
    assert any("lora_A" in name for block in blocks for name, _ in block.named_parameters())


def test_transposed_layers_are_adapted_without_a_word_of_peft() -> None:
    scenario = adapted("gpt2-classes", target_modules=["c_attn", "c_fc"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SplitModel(build_blocks(scenario))
    names = [name for name in trained_names(scenario) if "lora_" in name]
    assert len(names) == 2 * 2 * 2
    # A new adapter changes nothing: its second matrix is zero.
    batch = family_batch(scenario)
    plain = SplitModel(build_blocks(family_scenario("gpt2-classes")))
    with torch.no_grad():
        torch.testing.assert_close(model.whole.eval()(batch.inputs), plain.whole.eval()(batch.inputs))


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("bert", {"query", "value"}),
        ("gpt2", {"c_attn"}),
        ("llama", {"q_proj", "v_proj"}),
        ("opt-causal", {"q_proj", "v_proj"}),
    ],
)
def test_without_names_pefts_own_choice_is_adapted(family: str, expected: set[str]) -> None:
    names = [name for name in trained_names(adapted(family)) if "lora_" in name]
    assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in names} == expected


@pytest.mark.parametrize(
    ("family", "stated", "needles"),
    [
        ("vit", {}, ["no choice of its own for vit", "state names", "'all-linear'"]),
        ("gpt2", {"target_modules": ["q_proj"]}, ["'q_proj'", "c_attn, c_fc, c_proj", "all-linear"]),
        ("llama", {"target_modules": ["q_proj", "w_proj"]}, ["'w_proj'", "names no module"]),
        ("regnet", {"target_modules": ["1.convolution"], "rank": 3}, ["training.trainable.rank", "groups", "multiple"]),
        ("bert", {"target_modules": ["LayerNorm"]}, ["target_modules", "PEFT cannot adapt", "query"]),
    ],
)
def test_what_cannot_be_adapted_is_said(family: str, stated: dict[str, Any], needles: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        build_blocks(adapted(family, **stated), meta=True)
    for needle in needles:
        assert needle in str(caught.value)


SAVED = [
    ("bert", ["LayerNorm"]), ("bert", ["word_embeddings", "pooler"]), ("llama", ["embed_tokens", "model.norm"]),
    ("gpt2-classes", ["ln_f", "wpe"]), ("opt-classes", ["final_layer_norm"]),
]  # fmt: skip


@pytest.mark.parametrize(("family", "names"), SAVED)
def test_modules_to_save_are_trained_beside_adapters_as_by_peft(family: str, names: list[str]) -> None:
    """As many scalars, by the same kinds of modules, as PEFT trains by the same configuration."""
    scenario = adapted(family, target_modules="all-linear" if family == "vit" else None, modules_to_save=names)
    ours = sum(p.numel() for block in build_blocks(scenario, meta=True) for p in block.parameters() if p.requires_grad)
    plain = build_model(family_scenario(family), model_config(scenario.model), meta=True)
    task = "CAUSAL_LM" if scenario.model.task == "causal-lm" else "SEQ_CLS"
    settings = peft.LoraConfig(r=2, lora_alpha=16.0, modules_to_save=list(names), task_type=task)
    theirs = peft.get_peft_model(plain, settings)
    assert ours == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    without = sum(
        p.numel() for block in build_blocks(adapted(family), meta=True) for p in block.parameters() if p.requires_grad
    )
    assert ours > without


@pytest.mark.parametrize(("family", "names"), SAVED[:3])
def test_memory_of_modules_to_save_is_that_of_a_run(family: str, names: list[str]) -> None:
    lora = {"method": "lora", "rank": 2, "modules_to_save": names}
    scenario = family_scenario(family, trainable=lora, local_steps=2, optimizer={"name": "adamw", "learning_rate": 0.1})
    traced, model = traced_model(scenario), family_model(scenario)
    start = model.whole.snapshot()
    for mode in (Mode.FO, Mode.FO_RECOMPUTE, Mode.ZO_LOSS):
        assignment = Assignment("pi-0", Placement(cut=2, mode=mode, batch_size=8), 1.0, 1 << 40)
        done = run_client_round(
            model, start, assignment, lambda step: family_batch(scenario, seed=step), scenario, 0, measure_memory=True
        )
        predicted = client_memory(traced, scenario, 2, mode).peak_bytes
        assert predicted == pytest.approx(done.report.peak_bytes, rel=0.001, abs=8), mode


@pytest.mark.parametrize(("family", "names"), SAVED)
def test_modules_to_save_come_out_for_peft(family: str, names: list[str], tmp_path: Path) -> None:
    scenario = adapted(family, modules_to_save=names)
    model, blocks = build_whole(scenario)
    split = SplitModel(blocks)
    split.whole.load({name: tensor + 0.05 for name, tensor in split.whole.exchanged().items()})
    batch = family_batch(scenario)
    with torch.no_grad():
        expected = model.eval()(input_ids=batch.inputs).logits
        loads_with = save_trained(model, scenario, tmp_path)
        loaded = eval(loads_with, {"transformers": transformers, "peft": peft, "folder": str(tmp_path)})
        assert torch.equal(loaded.eval()(input_ids=batch.inputs).logits, expected)


@pytest.mark.parametrize(("stated", "says"), [
    ({"modules_to_save": ["norms"]}, r"'norms', which names no module with parameters; modules .* LayerNorm"),
    ({"modules_to_save": ["dropout"]}, "'dropout', which names no module with parameters"),
    ({"modules_to_save": ["attention"]}, "has an adapter inside"),
    ({"modules_to_save": ["query"]}, "has an adapter inside"),
])  # fmt: skip
def test_what_cannot_be_trained_whole_is_said(stated: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        build_blocks(adapted("bert", **stated), meta=True)


def test_weights_that_are_shared_are_not_saved_apart(tmp_path: Path) -> None:
    """A checkpoint whose head is its embedding: PEFT would train one, and here both would be."""
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=96)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    text = adapted("gpt2", modules_to_save=["wte"]).resolved()
    text["model"] = {"task": "causal-lm", "checkpoint": str(tmp_path)}
    with pytest.raises(ScenarioError, match=r"'wte', whose weights lm_head\.weight shares"):
        build_blocks(load(text), meta=True)


def test_an_adapter_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"weights of a PEFT adapter.*merge_and_unload"):
        model_config(Model(task="causal-lm", checkpoint=str(tmp_path)))
