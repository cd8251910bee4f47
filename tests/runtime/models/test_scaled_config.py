"""Configurations made wider, deeper and with other kernels: the models that come of them, built by transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification
from transformers import AutoModelForSequenceClassification as AutoText

from hybridsplit.runtime.models.scaled_config import scaled_config
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model

IMAGES, TEXTS, WORDS = "image-classification", "sequence-classification", "causal-lm"
CLASSES: dict[str, Any] = {IMAGES: AutoModelForImageClassification, TEXTS: AutoText, WORDS: AutoModelForCausalLM}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet": (IMAGES, {"num_channels": 1, "embedding_size": 16, "hidden_sizes": [16, 32], "depths": [2, 4]}),
    "convnext": (IMAGES, {"num_channels": 1, "hidden_sizes": [16, 32, 48, 64], "depths": [2, 2, 4, 2]}),
    "vit": (IMAGES, {"image_size": 16, "patch_size": 8, "num_channels": 1, "hidden_size": 32, "num_hidden_layers": 4,
                     "num_attention_heads": 4, "intermediate_size": 64}),
    "mobilenet_v2": (IMAGES, {"image_size": 32}),
    "bert": (TEXTS, {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
                     "intermediate_size": 64}),
    "distilbert": (TEXTS, {"vocab_size": 50, "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64}),
    "gpt2": (WORDS, {"vocab_size": 50, "n_embd": 32, "n_layer": 4, "n_head": 4}),
    "opt": (WORDS, {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
                    "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "llama": (WORDS, {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
                      "num_key_value_heads": 2, "intermediate_size": 64}),
    "qwen3": (WORDS, {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
                      "num_key_value_heads": 2, "intermediate_size": 64, "head_dim": 16}),
}  # fmt: skip


def model(kind: str, **more: Any) -> Model:
    task, config = MODELS[kind]
    return Model(task=task, config={"model_type": kind, **config, **more})  # type: ignore[arg-type]


def built(kind: str, values: dict[str, Any]) -> Any:
    config = AutoConfig.for_model(**values)
    return CLASSES[MODELS[kind][0]].from_config(config, trust_remote_code=False).eval()


def num_parameters(of: Any) -> int:
    return sum(parameter.numel() for parameter in of.parameters())


def runs(kind: str, of: Any) -> bool:
    task = MODELS[kind][0]
    if task == IMAGES:
        side = getattr(of.config, "image_size", 32)
        inputs = torch.randn(2, of.config.num_channels, side, side)
    else:
        inputs = torch.arange(8).reshape(2, 4)
    with torch.no_grad():
        return bool(torch.isfinite(of(inputs).logits).all())


@pytest.mark.parametrize("kind", MODELS)
def test_a_narrower_and_a_wider_model_are_models_too(kind: str) -> None:
    """Built and run by transformers itself; about the square of the width in parameters."""
    sizes = {}
    for width in (0.5, 1.0, 2.0):
        scaled = built(kind, scaled_config(model(kind), width=width))
        assert runs(kind, scaled)
        sizes[width] = num_parameters(scaled)
    assert sizes[0.5] < sizes[1.0] < sizes[2.0]
    assert sizes[2.0] < 4.3 * sizes[1.0]


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "mobilenet_v2"])
def test_half_as_many_layers_hold_half_as_much_less_what_is_no_layer(kind: str) -> None:
    whole, half, twice = (
        num_parameters(built(kind, scaled_config(model(kind), depth=depth))) for depth in (1.0, 0.5, 2.0)
    )
    assert runs(kind, built(kind, scaled_config(model(kind), depth=0.5)))
    if kind in ("resnet", "convnext"):  # the first layer of a stage is another
        assert half < whole < twice
    else:
        assert twice - whole == 2 * (whole - half)


@pytest.mark.parametrize("kind", MODELS)
def test_a_factor_of_1_changes_nothing(kind: str) -> None:
    torch.manual_seed(0)
    scaled = built(kind, scaled_config(model(kind))).state_dict()
    torch.manual_seed(0)
    plain = built(kind, {"model_type": kind, **MODELS[kind][1]}).state_dict()
    assert all(torch.equal(scaled[name], plain[name]) for name in {**scaled, **plain})


def test_sizes_are_what_heads_and_channels_divide() -> None:
    assert scaled_config(model("bert"), width=0.7)["hidden_size"] == 24  # 22.4, of 8
    assert scaled_config(model("resnet"), width=0.6)["hidden_sizes"] == [8, 20]  # 9.6 and 19.2, of 4
    assert scaled_config(model("qwen3"), width=0.5)["head_dim"] == 8
    assert scaled_config(model("resnet"), depth=0.1)["depths"] == [1, 1]
    assert scaled_config(model("gpt2", hidden_size=32), width=0.5)["n_embd"] == 16


def test_kernels_become_odd() -> None:
    mobile = Model(task=IMAGES, config={"model_type": "mobilevit", "conv_kernel_size": 5})
    assert [scaled_config(mobile, kernel=factor)["conv_kernel_size"] for factor in (0.2, 0.6, 0.75, 1.4)] == [
        1,
        3,
        3,
        7,
    ]


def test_what_a_configuration_does_not_state_cannot_be_scaled() -> None:
    with pytest.raises(
        ScenarioError, match=r"kernel: resnet states no kernel size in its configuration; state the keys"
    ):
        scaled_config(model("resnet"), kernel=0.5)
    with pytest.raises(ScenarioError, match="depth: mobilenet_v2 states no number of layers"):
        scaled_config(model("mobilenet_v2"), depth=0.5)
