"""Small configurations of real architectures, and scenarios around them."""

from __future__ import annotations

from typing import Any

import torch

from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.models.precision import torch_dtype
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

OPT = {
    "model_type": "opt", "hidden_size": 16, "num_hidden_layers": 3, "ffn_dim": 32, "num_attention_heads": 2,
    "word_embed_proj_dim": 16, "vocab_size": 96, "max_position_embeddings": 32,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "opt-causal": {"task": "causal-lm", "config": OPT},
    "opt-projected": {"task": "causal-lm", "config": {**OPT, "word_embed_proj_dim": 8, "do_layer_norm_before": False}},
    "opt-classes": {"task": "sequence-classification", "config": {**OPT, "num_labels": 3}},
    "bert": {
        "task": "sequence-classification",
        "config": {
            "model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "vocab_size": 96, "max_position_embeddings": 32, "num_labels": 3,
        },
    },
    "vit": {
        "task": "image-classification",
        "config": {
            "model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "image_size": 16, "patch_size": 4, "num_channels": 1, "num_labels": 10,
        },
    },
    "resnet": {
        "task": "image-classification",
        "config": {
            "model_type": "resnet", "layer_type": "basic", "num_channels": 1, "embedding_size": 8,
            "hidden_sizes": [8, 16], "depths": [1, 2], "num_labels": 10,
        },
    },
    "resnet-bottleneck": {
        "task": "image-classification",
        "config": {
            "model_type": "resnet", "layer_type": "bottleneck", "num_channels": 1, "embedding_size": 8,
            "hidden_sizes": [16, 32], "depths": [1, 1], "num_labels": 10,
        },
    },
}  # fmt: skip
DECODER = {
    "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 96, "max_position_embeddings": 32, "pad_token_id": 0,
}  # fmt: skip
FAMILIES["llama"] = {"task": "causal-lm", "config": {"model_type": "llama", **DECODER}}
FAMILIES["qwen3-classes"] = {
    "task": "sequence-classification",
    "config": {"model_type": "qwen3", **DECODER, "head_dim": 8, "num_labels": 3},
}
DECODERS: dict[str, dict[str, Any]] = {
    "llama-classes": {
        "task": "sequence-classification", "config": {"model_type": "llama", **DECODER, "num_labels": 3},
    },
    "llama-tied": {"task": "causal-lm", "config": {"model_type": "llama", **DECODER, "tie_word_embeddings": True}},
    "mistral": {"task": "causal-lm", "config": {"model_type": "mistral", **DECODER, "sliding_window": 5}},
    "qwen2": {
        "task": "causal-lm",
        "config": {
            "model_type": "qwen2", **DECODER, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1,
        },
    },
    "qwen3": {"task": "causal-lm", "config": {"model_type": "qwen3", **DECODER, "head_dim": 8}},
}  # fmt: skip
"""Relatives that share all code with a family above: compared with transformers, not enrolled in every test."""
_ENCODER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_TEXT = {**_ENCODER, "vocab_size": 96, "max_position_embeddings": 32}
_IMAGES = {"image_size": 16, "num_channels": 1, "num_labels": 10}
_GPT2: dict[str, Any] = {
    "model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 96, "n_positions": 32,
    "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip


def _traced(task: str, model_type: str, **config: Any) -> dict[str, Any]:
    labels = {} if task == "causal-lm" or "num_labels" in config else {"num_labels": 3}
    return {"task": task, "config": {"model_type": model_type, **config, **labels}}


TRACED: dict[str, dict[str, Any]] = {
    "gpt2": _traced("causal-lm", **_GPT2),
    "gpt2-classes": _traced("sequence-classification", **_GPT2),
    "gpt-neox": _traced("causal-lm", "gpt_neox", **_TEXT),
    "gemma2": _traced("causal-lm", "gemma2", **_TEXT, num_key_value_heads=1, head_dim=8),
    "mamba": _traced("causal-lm", "mamba", hidden_size=16, num_hidden_layers=2, vocab_size=96),
    "distilbert": _traced(
        "sequence-classification", "distilbert", dim=16, n_layers=2, n_heads=2, hidden_dim=32, vocab_size=96
    ),
    "roberta": _traced("sequence-classification", "roberta", **{**_TEXT, "max_position_embeddings": 40}),
    "albert": _traced("sequence-classification", "albert", **_TEXT, embedding_size=8),
    "mpnet": _traced("sequence-classification", "mpnet", **_TEXT),
    "electra": _traced("sequence-classification", "electra", **_TEXT, embedding_size=8),
    "deberta": _traced(
        "sequence-classification", "deberta-v2", **_TEXT, relative_attention=True, pos_att_type=["c2p", "p2c"],
    ),
    "deit": _traced("image-classification", "deit", **_ENCODER, **_IMAGES, patch_size=4),
    "dinov2": _traced(
        "image-classification", "dinov2", **_IMAGES, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        patch_size=4,
    ),
    "swin": _traced(
        "image-classification", "swin", **_IMAGES, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 2],
        window_size=4,
    ),
    "convnext": _traced(
        "image-classification", "convnext", num_channels=1, num_labels=10, patch_size=2, hidden_sizes=[8, 16],
        depths=[1, 2], num_stages=2,
    ),
    "regnet": _traced(
        "image-classification", "regnet", num_channels=1, num_labels=10, embedding_size=8, hidden_sizes=[8, 16],
        depths=[1, 2], groups_width=4,
    ),
    "mobilenet": _traced(
        "image-classification", "mobilenet_v2", **_IMAGES, depth_multiplier=0.2, depth_divisible_by=4, min_depth=4,
    ),
    "efficientnet": _traced(
        "image-classification", "efficientnet", **_IMAGES, width_coefficient=0.25, depth_coefficient=0.3,
        hidden_dim=320, strides=[1, 2, 1, 1, 1, 1, 1],
    ),
}  # fmt: skip
"""Architectures without a declared block list: their cuts are found in the traced forward pass."""
BATCH_SIZE, LENGTH = 8, 12


def family_scenario(family: str, *, smooth: bool = False, dtype: str = "float32", **training: Any) -> Scenario:
    """A scenario of two clients around a small model of a family; smooth, if wanted, so that derivatives exist."""
    model = {**FAMILIES, **DECODERS, **TRACED}[family] | {"dtype": dtype}
    activation = {"opt": "activation_function", "resnet": "hidden_act"}.get(model["config"]["model_type"])
    if smooth and activation is not None:
        model = {**model, "config": {**model["config"], activation: "gelu"}}
    is_text = model["task"] != "image-classification"
    document = {
        "name": family,
        "model": model,
        "data": {"source": "synthetic-tokens", "num_samples": 256} if is_text else {"source": "digits"},
        "training": {
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "batch_size": BATCH_SIZE,
            **({"sequence_length": LENGTH} if is_text else {}),
            **training,
        },
        "server": {"device": "edge_rtx_3090"},
        "radio": {"link_model": "fixed", "uplink_hz": "20 MHz", "downlink_hz": "20 MHz"},
        "clients": [
            {
                "group": "pi", "device": "rpi5_8gb", "count": 2, "memory_budget_bytes": "1 GiB",
                "link": {"uplink_bps_per_hz": 2.0, "downlink_bps_per_hz": 4.0},
            }
        ],
    }  # fmt: skip
    return validate_scenario(document, family)


def family_model(scenario: Scenario) -> SplitModel:
    """The scenario's model on real tensors."""
    return split_model(scenario)


def family_batch(scenario: Scenario, *, padded: bool = False, seed: int = 0) -> Batch:
    """A random batch that fits the scenario."""
    generator = torch.Generator().manual_seed(seed)
    if scenario.model.task == "image-classification":
        images = torch.randn(BATCH_SIZE, 1, 16, 16, generator=generator).to(torch_dtype(scenario.model))
        return Batch(images, torch.randint(0, 10, (BATCH_SIZE,), generator=generator))
    tokens = torch.randint(4, 90, (BATCH_SIZE, LENGTH), generator=generator)
    mask_BS = None
    if padded:
        lengths_B = torch.randint(3, LENGTH + 1, (BATCH_SIZE,), generator=generator)
        mask_BS = torch.arange(LENGTH) < lengths_B.unsqueeze(1)
        # Token 1 pads OPT, token 0 pads BERT.
        tokens = tokens.masked_fill(
            ~mask_BS, 1 if scenario.model.config and scenario.model.config["model_type"] == "opt" else 0
        )
    if scenario.model.task == "causal-lm":
        return Batch(tokens, tokens.clone() if mask_BS is None else tokens.masked_fill(~mask_BS, -100), mask_BS)
    return Batch(tokens, torch.randint(0, 3, (BATCH_SIZE,), generator=generator), mask_BS)
