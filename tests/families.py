"""Small configurations of real architectures, and scenarios around them."""

from __future__ import annotations

from typing import Any

import torch

from runtime.models.build import build_blocks
from runtime.split import SplitModel
from runtime.wire import Batch
from scenarios.loader import validate_scenario
from scenarios.schema import Scenario

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
BATCH_SIZE, LENGTH = 8, 12


def family_scenario(family: str, *, smooth: bool = False, **training: Any) -> Scenario:
    """A scenario of two clients around a small model of a family; smooth, if wanted, so that derivatives exist."""
    model = {**FAMILIES, **DECODERS}[family]
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
    return SplitModel(build_blocks(scenario))


def family_batch(scenario: Scenario, *, padded: bool = False, seed: int = 0) -> Batch:
    """A random batch that fits the scenario."""
    generator = torch.Generator().manual_seed(seed)
    if scenario.model.task == "image-classification":
        images = torch.randn(BATCH_SIZE, 1, 16, 16, generator=generator)
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
