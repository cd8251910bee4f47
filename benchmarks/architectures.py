"""Published architectures as transformers builds them, from shapes alone, and what a training step of one costs.

Not a benchmark itself: what ``raspberry_pi_times.py`` and ``published_macs.py`` share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf
from torch import nn

from hybridsplit.profiler.costs import OperatorCost
from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.operators import OperatorCounter
from hybridsplit.profiler.shapes import shapes_only

Build = Callable[[], nn.Module]


def _classifier(kind: str, **config: Any) -> Build:
    return lambda: getattr(tf, f"{kind}ForImageClassification")(getattr(tf, f"{kind}Config")(num_labels=1000, **config))


def resnet(layer_type: str, depths: list[int]) -> Build:
    widths = [64, 128, 256, 512] if layer_type == "basic" else [256, 512, 1024, 2048]
    return _classifier("ResNet", layer_type=layer_type, depths=depths, hidden_sizes=widths)


def vit(width: int, depth: int, heads: int, patch: int = 16, kind: str = "ViT") -> Build:
    return _classifier(
        kind, hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width,
        patch_size=patch,
    )  # fmt: skip


def convnext(widths: list[int], depths: list[int]) -> Build:
    return _classifier("ConvNext", hidden_sizes=widths, depths=depths)


def efficientnet(width: float, depth: float, image_size: int = 224, odd: tuple[int, ...] = ()) -> Build:
    """EfficientNet; ``odd`` names the strided blocks that meet an odd image side, which pad on both sides there."""
    head = int(max(8, (1280 * width + 4) // 8 * 8))
    return _classifier(
        "EfficientNet",
        width_coefficient=width,
        depth_coefficient=depth,
        image_size=image_size,
        hidden_dim=head,
        depthwise_padding=list(odd),
    )


def regnet(layer_type: str, depths: list[int], widths: list[int], group_width: int) -> Build:
    return _classifier(
        "RegNet", layer_type=layer_type, depths=depths, hidden_sizes=widths, groups_width=group_width, embedding_size=32
    )


def swin(width: int, depths: list[int], heads: list[int], kind: str = "Swin", **more: Any) -> Build:
    return _classifier(kind, embed_dim=width, depths=depths, num_heads=heads, **more)


def mobilenet_v2(width: float) -> Build:
    return _classifier("MobileNetV2", depth_multiplier=width, tf_padding=False)


def mobilevit_v2(width: float) -> Build:
    return _classifier("MobileViTV2", width_multiplier=width, image_size=224)


@dataclass(frozen=True)
class StepCost:
    """Operators of a training step of a whole classifier.

    Parameters
    ----------
    forward
        Forward pass with the loss.
    step
        Forward, backward and the update of plain SGD.
    num_parameters
        Scalars.
    """

    forward: OperatorCost
    step: OperatorCost
    num_parameters: int


def step_cost(build: Build, batch_size: int, image_size: int = 224) -> StepCost:
    """Count the operators of a step; images of three channels, drop-out off."""
    with torch.device("meta"):
        model = build()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    forward, rest = OperatorCounter(), OperatorCounter()
    with shapes_only(CPU_KERNELS):
        images = torch.empty(batch_size, 3, image_size, image_size, device="meta")
        labels = torch.empty(batch_size, dtype=torch.long, device="meta")
        with forward:
            loss = nn.functional.cross_entropy(model(pixel_values=images).logits, labels)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with rest:
            loss.backward()
            optimizer.step()
    step = OperatorCost.joined([forward.cost(), rest.cost()])
    return StepCost(forward.cost(), step, sum(parameter.numel() for parameter in model.parameters()))
