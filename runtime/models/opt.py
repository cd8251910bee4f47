"""OPT (Zhang et al., arXiv 2205.01068): embeddings, decoder layers, head."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_causal_mask

from hybridsplit.runtime.models.blocks import Block, last_token, register_family


class OptEmbedding(Block):
    """Token and learned position embeddings."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.embed_tokens = decoder.embed_tokens
        self.embed_positions = decoder.embed_positions
        self.project_in = decoder.project_in

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map token ids [B, S] to activations [B, S, D]."""
        tokens_BSD = self.embed_tokens(x)
        if self.project_in is not None:
            tokens_BSD = self.project_in(tokens_BSD)
        seen_BS = torch.ones_like(x) if mask_BS is None else mask_BS.long()
        positions_BS = torch.cumsum(seen_BS, dim=1) * seen_BS - 1
        return cast("Tensor", tokens_BSD + self.embed_positions(seen_BS, 0, position_ids=positions_BS))


class OptLayer(Block):
    """One decoder layer."""

    def __init__(self, layer: nn.Module, config: Any) -> None:
        super().__init__()
        self.layer = layer
        self._config = config

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations [B, S, D] to activations of the same shape."""
        causal_mask = create_causal_mask(
            config=self._config, inputs_embeds=x, attention_mask=mask_BS, past_key_values=None
        )
        return cast("Tensor", self.layer(x, attention_mask=causal_mask))


class OptHead(Block):
    """Final layer norm, and the language-model or classification head."""

    def __init__(self, decoder: Any, head: nn.Module, *, pools: bool) -> None:
        super().__init__()
        self.final_layer_norm = decoder.final_layer_norm
        self.project_out = decoder.project_out
        self.head = head
        self._pools = pools

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations [B, S, D] to logits [B, S, V], or [B, K] for classification."""
        if self.final_layer_norm is not None:
            x = self.final_layer_norm(x)
        if self.project_out is not None:
            x = self.project_out(x)
        return cast("Tensor", self.head(last_token(x, mask_BS) if self._pools else x))


@register_family("opt")
def decompose_opt(model: Any, task: str) -> list[Block]:
    """Return the blocks of ``OPTForCausalLM`` or ``OPTForSequenceClassification``."""
    decoder = model.model.decoder
    pools = task == "sequence-classification"
    head = OptHead(decoder, model.score if pools else model.lm_head, pools=pools)
    return [OptEmbedding(decoder), *(OptLayer(layer, model.config) for layer in decoder.layers), head]
