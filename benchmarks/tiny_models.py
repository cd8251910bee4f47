"""Tiny configurations of every model type that transformers offers for a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hybridsplit.runtime.models.keys import known_keys

TASKS: dict[str, Mapping[str, Any]] = {
    "image-classification": modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    "sequence-classification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "causal-lm": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
}
VOCABULARY, POSITIONS = 96, 64
_LAYERS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers",
    "num_encoder_layers", "num_decoder_layers", "depth",
)  # fmt: skip
_HEADS = (
    "num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads",
    "encoder_num_heads",
)  # fmt: skip
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "word_embed_proj_dim")
_INNER = (
    "intermediate_size", "ffn_dim", "n_inner", "d_ff", "d_inner", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim",
    "ffn_hidden_size", "dim_ff", "intermediate_size_mlp",
)  # fmt: skip
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_sequence_length")
_OTHERS: dict[str, Any] = {
    "num_key_value_heads": 2, "multi_query_group_num": 2, "head_dim": 8, "global_head_dim": 8, "d_kv": 8,
    "vocab_size": VOCABULARY, "decoder_vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 3,
    "decoder_start_token_id": 1, "cls_token_id": 1, "mask_token_id": 3,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "num_experts_per_token": 2, "moe_k": 2, "top_k": 2, "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "expert_ffn_hidden_size": 16,
    "first_k_dense_replace": 1, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "qk_head_dim": 16, "o_lora_rank": 8, "sliding_window": 8, "image_size": 32, "patch_size": 4,
    "state_size": 8, "time_step_rank": 4, "mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_expand": 2,
    "mamba_n_groups": 1, "mamba_headdim": 8, "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1,
    "n_mamba_heads": 2, "mamba_dt_rank": 4, "ssm_state_size": 8, "linear_num_value_heads": 4,
    "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "attention_window": 4,
    "encoder_hidden_size": 32, "lru_width": 32, "rotary_dim": 4, "num_buckets": 8,
}  # fmt: skip
_BY_TYPE: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
}
"""Keys whose values must fit together in a way of their own."""


def tiny(task: str, model_type: str, *, narrow: bool = True) -> dict[str, Any]:
    """Return a small configuration by value.

    Parameters
    ----------
    task
        A task of the product.
    model_type
        A type that transformers offers for it.
    narrow
        Make layers narrow as well as few; some types have widths that depend on each other.

    Raises
    ------
    ValueError
        If the type has no class of configurations.
    """
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"{model_type} has no configuration")
    found = _tiny(CONFIG_MAPPING[model_type], narrow=narrow)
    if task == "causal-lm":
        if found.get("is_decoder", None) is False or "is_decoder" in _defaults(CONFIG_MAPPING[model_type]):
            found["is_decoder"] = True
    else:
        found["num_labels"] = 10 if task == "image-classification" else 3
    return {"model_type": model_type, **found, **(_BY_TYPE.get(model_type, {}) if narrow else {})}


def _defaults(config_class: Any) -> dict[str, Any]:
    if not is_dataclass(config_class):
        return {}
    return {field.name: None if field.default is MISSING else field.default for field in fields(config_class)}


def _tiny(config_class: Any, *, narrow: bool) -> dict[str, Any]:
    defaults = _defaults(config_class)
    taken = {
        key: value
        for key, value in _values(narrow=narrow)
        if key in defaults and not isinstance(defaults[key], (list, tuple, dict, str, bool))
    }
    for key, default in defaults.items():
        if isinstance(default, (list, tuple)) and key in ("depths", "layers", "num_blocks"):
            taken[key] = [1] * len(default)
    if "num_key_value_heads" in defaults and defaults["num_key_value_heads"] is None:
        taken["num_key_value_heads"] = 4
    if "kv_lora_rank" in defaults and "num_key_value_heads" in taken:
        # Latent attention has as many keys as queries.
        taken["num_key_value_heads"] = 4
    if "use_cache" in defaults:
        taken["use_cache"] = False
    if "layer_types" not in defaults and "attn_layer_period" in defaults:
        taken |= {"attn_layer_period": 2, "attn_layer_offset": 1}
    for key in getattr(config_class, "sub_configs", {}):
        spec = config_class.sub_configs_defaults[key]
        nested = spec.config_class if is_dataclass(spec.config_class) else CONFIG_MAPPING.get(spec.model_type)
        if nested is not None:
            own = {} if is_dataclass(spec.config_class) else {"model_type": spec.model_type}
            taken[key] = {**own, **_tiny(nested, narrow=narrow)}
    known = known_keys(config_class)
    if "decoder_start_token_id" in known:
        taken["decoder_start_token_id"] = 1
    return {key: value for key, value in taken.items() if key in known}


def _values(*, narrow: bool) -> Iterator[tuple[str, Any]]:
    yield from ((key, 2) for key in _LAYERS)
    yield from ((key, POSITIONS) for key in _POSITIONS)
    if narrow:
        yield from ((key, 4) for key in _HEADS)
        yield from ((key, 32) for key in _WIDTHS)
        yield from ((key, 48) for key in _INNER)
        yield from _OTHERS.items()
    else:
        kept = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "image_size")
        yield from ((key, _OTHERS[key]) for key in kept)
