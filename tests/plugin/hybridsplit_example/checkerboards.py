"""``checkerboards``: images made by a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from hybridsplit.plugins import ImageSource

if TYPE_CHECKING:
    from hybridsplit.plugins import Samples, Scenario


class Checkerboards(ImageSource):
    """Noisy checkerboards, shifted at random; the class is the width of a field, 1 to ``num_classes`` pixels."""

    loader: ClassVar[str] = "hybridsplit_example.checkerboards:load"
    source: Literal["checkerboards"]
    num_samples: Annotated[int, Field(ge=10, le=1_000_000)] = 512
    """Number of images."""
    num_classes: Annotated[int, Field(ge=2, le=8)] = 4
    """Number of field widths."""


def load(data: Checkerboards, scenario: Scenario) -> tuple[Samples, int]:
    """Return the images and their number of classes; the scenario's seed decides them."""
    import torch

    from hybridsplit.plugins import prepared_images

    generator = torch.Generator().manual_seed(scenario.seed)
    labels_N = torch.arange(data.num_samples) % data.num_classes
    shift_N2 = torch.randint(0, 16, (data.num_samples, 2), generator=generator)
    place = torch.arange(data.image_size)
    row_NS = (place + shift_N2[:, :1]) // (labels_N[:, None] + 1)
    column_NS = (place + shift_N2[:, 1:]) // (labels_N[:, None] + 1)
    images = ((row_NS[:, :, None] + column_NS[:, None, :]) % 2).float().unsqueeze(1)
    images += 0.1 * torch.randn(images.shape, generator=generator)
    return prepared_images(images, labels_N, data.image_size, scenario), data.num_classes
