"""Low-rank adapters: which modules may be named, and what is said of others."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.models.configuration import model_config
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model, Scenario
from hybridsplit.testing.families import family_batch, family_scenario


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


def test_an_adapter_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"weights of a PEFT adapter.*merge_and_unload"):
        model_config(Model(task="causal-lm", checkpoint=str(tmp_path)))
