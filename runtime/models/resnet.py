"""ResNet (He et al., arXiv 1512.03385): stem, residual layers, classifier."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from hybridsplit.runtime.models.blocks import Block, PooledHead, register_family


class ResNetBlock(Block):
    """The stem, or one residual layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map images or feature maps [B, C, H, W] to feature maps [B, C', H', W']."""
        return cast("Tensor", self.layer(x))


@register_family("resnet", attention=None)
def decompose_resnet(model: Any, task: str) -> list[Block]:
    """Return the blocks of ``ResNetForImageClassification``."""
    resnet = model.resnet
    layers = [ResNetBlock(layer) for stage in resnet.encoder.stages for layer in stage.layers]
    return [ResNetBlock(resnet.embedder), *layers, PooledHead(resnet.pooler, model.classifier)]
