"""Decoders with rotary positions and grouped attention: Llama (arXiv 2302.13971), Mistral, Qwen2, Qwen3.

Position ids count tokens from the start of the sequence, as transformers' own forward does when none are given, so
rotary tables depend on the sequence length alone. Every layer computes its own, from its own copy of the frequencies:
the hidden state is all that crosses a cut.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from hybridsplit.runtime.models.blocks import Block, last_token, register_family


class DecoderEmbedding(Block):
    """Token embedding."""

    def __init__(self, embed_tokens: nn.Module) -> None:
        super().__init__()
        self.embed_tokens = embed_tokens

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map token ids [B, S] to activations [B, S, D]."""
        return cast("Tensor", self.embed_tokens(x))


class DecoderLayer(Block):
    """One decoder layer with its own rotary tables and mask."""

    def __init__(self, layer: nn.Module, rotary: nn.Module, config: Any, *, slides: bool) -> None:
        super().__init__()
        self.layer = layer
        self.rotary = rotary
        self._config = config
        self._slides = slides

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations [B, S, D] to activations of the same shape."""
        positions_1S = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
        create_mask = create_sliding_window_causal_mask if self._slides else create_causal_mask
        # With position ids transformers would look for several sequences packed into one; these batches hold none.
        mask = create_mask(config=self._config, inputs_embeds=x, attention_mask=mask_BS, past_key_values=None)
        tables = self.rotary(x, position_ids=positions_1S)
        return cast("Tensor", self.layer(x, attention_mask=mask, position_embeddings=tables, position_ids=positions_1S))


class DecoderHead(Block):
    """Final norm, and the language-model or classification head."""

    def __init__(self, norm: nn.Module, head: nn.Module, *, pools: bool) -> None:
        super().__init__()
        self.norm = norm
        self.head = head
        self._pools = pools

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations [B, S, D] to logits [B, S, V], or [B, K] for classification."""
        x = self.norm(x)
        return cast("Tensor", self.head(last_token(x, mask_BS) if self._pools else x))


@register_family("llama")
@register_family("mistral")
@register_family("qwen2")
@register_family("qwen3")
def decompose_decoder(model: Any, task: str) -> list[Block]:
    """Return the blocks of a Llama-like ``...ForCausalLM`` or ``...ForSequenceClassification``."""
    decoder, config = model.model, model.config
    pools = task == "sequence-classification"
    layers = [
        DecoderLayer(layer, copy.deepcopy(decoder.rotary_emb), config, slides=slides)
        for layer, slides in zip(decoder.layers, _sliding_layers(config), strict=True)
    ]
    head = DecoderHead(decoder.norm, model.score if pools else model.lm_head, pools=pools)
    return [DecoderEmbedding(decoder.embed_tokens), *layers, head]


def _sliding_layers(config: Any) -> list[bool]:
    """Whether each layer attends to a window only."""
    if config.model_type == "mistral":
        return [config.sliding_window is not None] * config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    return [kind == "sliding_attention" for kind in kinds]
