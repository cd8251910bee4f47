"""ViT (Dosovitskiy et al., arXiv 2010.11929): patch embedding, encoder layers, classifier."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from hybridsplit.runtime.models.blocks import Block, register_family


class VitEmbedding(Block):
    """Patches, class token and positions."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map images [B, C, H, W] to activations [B, S, D]."""
        return cast("Tensor", self.embeddings(x))


class VitLayer(Block):
    """One encoder layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations [B, S, D] to activations of the same shape."""
        return cast("Tensor", self.layer(x))


class VitHead(Block):
    """Final layer norm, and the classifier on the class token."""

    def __init__(self, layernorm: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.layernorm = layernorm
        self.classifier = classifier

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map activations [B, S, D] to logits [B, K]."""
        return cast("Tensor", self.classifier(self.layernorm(x)[:, 0]))


@register_family("vit")
def decompose_vit(model: Any, task: str) -> list[Block]:
    """Return the blocks of ``ViTForImageClassification``."""
    vit = model.vit
    layers = [VitLayer(layer) for layer in vit.layers]
    return [VitEmbedding(vit.embeddings), *layers, VitHead(vit.layernorm, model.classifier)]
