"""``mobilenet_v2``: a declared list of blocks."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from hybridsplit.plugins import Block, register_family


class Layer(Block):
    """The stem, or one inverted residual block."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map images or feature maps [B, C, H, W] to feature maps."""
        return cast("Tensor", self.layer(x))


class Head(Block):
    """The last convolution, the mean over places, and the classifier."""

    def __init__(self, convolution: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.convolution, self.classifier = convolution, classifier

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map feature maps [B, C, H, W] to logits [B, K]."""
        return cast("Tensor", self.classifier(self.convolution(x).mean(dim=(2, 3))))


@register_family("mobilenet_v2", attention=None)
def decompose(model: nn.Module, task: str) -> list[Block]:
    """Return stem, layers and head; they share the model's modules."""
    whole: Any = model
    body = whole.mobilenet_v2
    return [Layer(body.conv_stem), *map(Layer, body.layer), Head(body.conv_1x1, whole.classifier)]
