"""BERT (Devlin et al., arXiv 1810.04805): embeddings, encoder layers, pooler and classifier."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from hybridsplit.runtime.models.blocks import Block, PooledHead, register_family


class BertEmbedding(Block):
    """Token, position and segment embeddings."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map token ids [B, S] to activations [B, S, D]."""
        return cast("Tensor", self.embeddings(input_ids=x))


class BertLayer(Block):
    """One encoder layer."""

    def __init__(self, layer: nn.Module, config: Any) -> None:
        super().__init__()
        self.layer = layer
        self._config = config

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations [B, S, D] to activations of the same shape."""
        mask = create_bidirectional_mask(config=self._config, inputs_embeds=x, attention_mask=mask_BS)
        out = self.layer(x, mask)
        return cast("Tensor", out[0] if isinstance(out, tuple) else out)


@register_family("bert", tasks=("sequence-classification",))
def decompose_bert(model: Any, task: str) -> list[Block]:
    """Return the blocks of ``BertForSequenceClassification``."""
    bert = model.bert
    layers = [BertLayer(layer, model.config) for layer in bert.encoder.layer]
    return [BertEmbedding(bert.embeddings), *layers, PooledHead(bert.pooler, model.classifier)]
