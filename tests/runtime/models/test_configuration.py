"""Which keys of a transformers configuration are taken, refused or set, nested configurations included."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.profiler.models import block_graph, traced_model
from hybridsplit.runtime.data.sources import load_dataset
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.models.configuration import configurations, image_channels, model_config, vocabulary_of
from hybridsplit.runtime.models.keys import check_keys, known_keys
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model, Scenario
from hybridsplit.testing.families import DECODER, FAMILIES, TRACED, family_batch, family_scenario

TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CLIP = {
    "model_type": "clip", "num_labels": 4, "text_config": {**TEXT, "vocab_size": 50},
    "vision_config": {**TEXT, "image_size": 16, "patch_size": 4, "num_channels": 2, "attention_dropout": 0.3},
}  # fmt: skip
GEMMA3 = {
    "model_type": "gemma3",
    "text_config": {**TEXT, "vocab_size": 96, "head_dim": 8, "num_key_value_heads": 1, "sliding_window": 6},
}  # fmt: skip


def with_config(family: str, **changes: Any) -> Scenario:
    scenario = family_scenario(family)
    config = {**(scenario.model.config or {}), **changes}
    return scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})


def logits(scenario: Scenario) -> torch.Tensor:
    model = SplitModel(build_blocks(scenario)).whole.eval()
    with torch.no_grad():
        found: torch.Tensor = model(family_batch(scenario).inputs)
    return found


ROTARY: list[dict[str, Any]] = [
    {"rope_theta": 50.0},
    {"rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
]


@pytest.mark.parametrize("stated", ROTARY, ids=["theta", "scaling", "parameters"])
def test_rotary_keys_old_and_new_change_the_logits(stated: dict[str, Any]) -> None:
    assert not torch.equal(logits(family_scenario("llama")), logits(with_config("llama", **stated)))


def test_the_old_and_the_new_key_of_the_rotary_base_are_the_same() -> None:
    torch.testing.assert_close(
        logits(with_config("llama", **ROTARY[0])), logits(with_config("llama", **ROTARY[2])), rtol=0, atol=0
    )


def test_a_key_that_only_the_model_reads_takes_effect() -> None:
    plain, shared = (
        sum(p.numel() for block in build_blocks(with_config("deberta", **keys), meta=True) for p in block.parameters())
        for keys in ({}, {"share_att_key": True})
    )
    assert shared < plain
    check_keys(
        {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3}, transformers.DebertaV2Config
    )


@pytest.mark.parametrize("dtype", ["torch_dtype", "dtype"])
def test_a_stored_precision_is_taken_and_changes_nothing(dtype: str) -> None:
    assert torch.equal(logits(family_scenario("llama")), logits(with_config("llama", **{dtype: "bfloat16"})))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["llama", "bert", "deberta", "gpt2", "swin", "roberta"]), st.data())
def test_a_slip_of_the_pen_is_refused_with_its_key(family: str, data: st.DataObject) -> None:
    """A key with a letter too few is never taken."""
    config_class = type(model_config(family_scenario(family).model))
    key = data.draw(st.sampled_from(sorted(known_keys(config_class))))
    place = data.draw(st.integers(0, len(key) - 1))
    slip = key[:place] + key[place + 1 :]
    if slip not in known_keys(config_class):
        with pytest.raises(ScenarioError, match=rf"model\.config\.{slip}: unknown key"):
            check_keys({slip: 1}, config_class)


def test_a_nested_slip_is_named_with_its_path() -> None:
    stated = {**GEMMA3, "text_config": {"hiden_size": 16}}
    with pytest.raises(ScenarioError, match=r"model\.config\.text_config\.hiden_size.*'hidden_size'"):
        model_config(Model(task="causal-lm", config=stated))


@pytest.mark.parametrize(
    ("family", "stated", "named"),
    [
        ("bert", {"problem_type": "regression"}, "problem_type"),
        ("bert", {"problem_type": "multi_label_classification"}, "problem_type"),
        ("vit", {"problem_type": "regression"}, "problem_type"),
        ("bert", {"num_labels": 1}, "num_labels"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("roberta-lm", {"is_decoder": False}, "is_decoder"),
        ("llama", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config"),
        ("llama", {"attn_implementation": "somebody/kernels"}, "attn_implementation"),
        ("llama", {"label_smoothing": 0.1}, "label_smoothing"),
        ("mixtral", {"output_router_logits": True}, "output_router_logits"),
    ],
)
def test_other_mathematics_is_refused_with_its_key(family: str, stated: dict[str, Any], named: str) -> None:
    known: dict[str, dict[str, Any]] = {
        **FAMILIES, **TRACED,
        "mixtral": {"task": "causal-lm", "config": {"model_type": "mixtral", **DECODER}},
        "roberta-lm": {"task": "causal-lm", "config": {"model_type": "roberta", **TEXT}},
    }  # fmt: skip
    model = known[family]
    with pytest.raises(ScenarioError, match=rf"model\.config\.{named}: found"):
        model_config(Model(task=model["task"], config={**model["config"], **stated}))


@pytest.mark.parametrize(
    "stated",
    [{"problem_type": "regression"}, {"quantization_config": {"quant_method": "awq"}}],
    ids=["regression", "quantised"],
)
def test_a_checkpoint_made_for_other_mathematics_is_refused(stated: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **stated}), encoding="utf-8")
    with pytest.raises(ScenarioError, match=rf"config\.json: {next(iter(stated))}: found"):
        model_config(Model(task="sequence-classification", checkpoint=str(tmp_path)))


@pytest.mark.parametrize("stated", [CLIP, GEMMA3], ids=["clip", "gemma3"])
def test_nested_configurations_are_set_as_the_outer_is(stated: dict[str, Any]) -> None:
    task: Any = "image-classification" if stated is CLIP else "causal-lm"
    found = list(configurations(model_config(Model(task=task, config=stated))))
    assert len(found) == 3
    for config in found:
        assert not config.use_cache
        assert not config.tie_word_embeddings
        assert config.dtype is torch.float32
        assert not any(v for name, v in vars(config).items() if "drop" in name and isinstance(v, float))


def test_channels_are_those_of_the_image_tower() -> None:
    config = model_config(Model(task="image-classification", config=CLIP))
    assert image_channels(config, 1) == 2
    scenario = family_scenario("vit")
    scenario = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": CLIP})})
    assert traced_model(scenario).batch.inputs.shape[1] == 2


POSITIONS: dict[str, tuple[dict[str, Any], int]] = {
    "bert": ({**TEXT, "max_position_embeddings": 12}, 12),
    "roberta": ({**TEXT, "max_position_embeddings": 14, "pad_token_id": 1}, 12),
    "camembert": ({**TEXT, "max_position_embeddings": 17, "pad_token_id": 4}, 12),
    "xlm-roberta": ({**TEXT, "max_position_embeddings": 14, "pad_token_id": 1}, 12),
    "mpnet": ({**TEXT, "max_position_embeddings": 14, "pad_token_id": 1}, 12),
    **dict.fromkeys(
        ("xlm-roberta-xl", "roberta-prelayernorm", "data2vec-text", "ibert", "luke", "markuplm", "esm"),
        ({**TEXT, "max_position_embeddings": 14, "pad_token_id": 1}, 12),
    ),
    "lilt": (
        {**TEXT, "hidden_size": 24, "max_position_embeddings": 14, "pad_token_id": 1, "channel_shrink_ratio": 1},
        12,
    ),
    "gpt2": ({"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12, "pad_token_id": 0}, 12),
    "electra": ({**TEXT, "embedding_size": 8, "max_position_embeddings": 12}, 12),
    "llama": ({**DECODER, "max_position_embeddings": 12}, 12),
}


@pytest.mark.parametrize("model_type", list(POSITIONS))
def test_a_text_as_long_as_the_positions_is_taken_and_one_token_more_is_not(model_type: str) -> None:
    stated, longest = POSITIONS[model_type]
    config = {"vocab_size": 96, "num_labels": 2, **stated, "model_type": model_type}
    scenario = family_scenario("bert", sequence_length=longest)
    scenario = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})
    model = SplitModel(build_blocks(scenario)).whole.eval()
    with torch.no_grad():
        assert model(torch.full((2, longest), 7)).shape == (2, 2)
    training = scenario.training.model_copy(update={"sequence_length": longest + 1})
    with pytest.raises(ScenarioError, match=rf"training\.sequence_length: found {longest + 1}.*for {longest} tokens"):
        build_blocks(scenario.model_copy(update={"training": training}), meta=True)


@pytest.mark.parametrize("model_type", ["xlnet", "bloom"])
def test_where_nothing_limits_positions_any_length_is_taken(model_type: str) -> None:
    config = {
        "model_type": model_type,
        "hidden_size": 16,
        "n_head": 2,
        "n_layer": 2,
        "vocab_size": 96,
        "pad_token_id": 0,
    }
    if model_type == "xlnet":
        config = {"model_type": "xlnet", "d_model": 16, "n_head": 2, "n_layer": 2, "d_inner": 16, "vocab_size": 96}
    scenario = family_scenario("bert", sequence_length=70)
    scenario = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})
    assert len(build_blocks(scenario, meta=True)) >= 3


def test_a_model_of_characters_takes_any_token() -> None:
    config = {**TEXT, "model_type": "canine", "num_labels": 8}
    scenario = family_scenario("bert")
    scenario = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})
    assert vocabulary_of(model_config(scenario.model)) is None
    assert load_dataset(scenario).num_classes == 8


@pytest.mark.parametrize(
    "stages",
    [
        {"depths": [1, 1]},
        {"depths": [1, 1, 1, 1]},
        {"hidden_sizes": [16]},
        {"depths": []},
        {"depths": [1], "hidden_sizes": [8, 16]},
    ],
)
def test_lists_of_one_entry_a_stage_agree(stages: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match=r"model\.config\.depths: depths has \d and hidden_sizes has \d entries"):
        build_blocks(with_config("resnet", **{"depths": [1, 1, 1], "hidden_sizes": [8, 8, 16], **stages}), meta=True)


def test_stages_that_agree_and_a_type_that_counts_them_otherwise_are_taken() -> None:
    assert len(build_blocks(with_config("resnet", depths=[1, 2], hidden_sizes=[8, 16]), meta=True)) == 5
    model_config(Model(task="image-classification", config={"model_type": "textnet", "num_labels": 3}))


OF_SHAPES = ["a and b must have same reduction dim, but got [8, 4] X [2, 1].", "shape '[2]' is invalid for input"]


@pytest.mark.parametrize("said", OF_SHAPES)
def test_shapes_that_do_not_go_together_are_a_matter_of_the_scenario(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the forward pass fails for it, and whatever of a configuration is behind it."""

    def fail(*given: object) -> None:
        raise RuntimeError(said)

    traced = traced_model(family_scenario("vit"))
    monkeypatch.setattr(traced.model.whole.ordered()[1], "forward", fail)
    with pytest.raises(ScenarioError, match="do not fit together"):
        block_graph(traced)


def test_shapes_of_a_traced_model_are_a_matter_of_the_scenario() -> None:
    config = {**TEXT, "model_type": "lilt", "vocab_size": 96, "num_labels": 2, "pad_token_id": 1}
    scenario = family_scenario("bert")
    scenario = scenario.model_copy(update={"model": scenario.model.model_copy(update={"config": config})})
    with pytest.raises(ScenarioError, match=r"the forward pass of lilt fails for its shapes: .* do not fit together"):
        build_blocks(scenario, meta=True)


def test_special_tokens_that_nobody_stated_are_nothing_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: said.append(record.getMessage()))
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        own = {"model_type": "gpt2", "vocab_size": 41, "num_labels": 2}
        model_config(Model(task="causal-lm", config=own))
        assert said == []
        model_config(Model(task="causal-lm", config={**own, "bos_token_id": 50, "eos_token_id": 1}))
        assert any("bos_token_id" in line for line in said)
    finally:
        logger.removeHandler(handler)
