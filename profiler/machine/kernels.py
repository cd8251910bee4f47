"""Operators that tell a machine's operator classes apart, at the sizes that training meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from profiler.operators import OperatorClass, OperatorCost, OperatorCounter


@dataclass(frozen=True)
class Kernel:
    """One operator to time.

    Parameters
    ----------
    name
        For people.
    operator_class
        Class it stands for.
    run
        Carries it out once.
    """

    name: str
    operator_class: OperatorClass
    run: Callable[[], object]

    def cost(self) -> OperatorCost:
        """Count its operators by carrying it out once."""
        with OperatorCounter() as counter:
            self.run()
        return counter.cost()


_PRODUCT_SIZES = ((64, 64, 64), (128, 128, 512), (512, 512, 512), (1024, 1024, 1024), (2048, 256, 768), (256, 3072, 768))
"""Rows, inner size, columns: tokens of a batch against layers from a toy model's to a base model's."""
_CONVOLUTIONS = (
    # name, batch, channels in, channels out, kernel, image, groups
    ("3x3", 8, 16, 16, 3, 32, 1),
    ("3x3", 8, 64, 64, 3, 28, 1),
    ("3x3", 4, 256, 256, 3, 14, 1),
    ("1x1", 8, 64, 256, 1, 28, 1),
    ("1x1", 4, 512, 128, 1, 14, 1),
    ("grouped", 8, 64, 64, 3, 28, 8),
    ("depthwise", 8, 64, 64, 3, 28, 64),
    ("depthwise", 4, 128, 128, 7, 14, 128),
)
_ELEMENTS = (1 << 14, 1 << 18, 1 << 22)


def kernels() -> Iterator[Kernel]:
    """All operators to time, smallest first within a class; inputs are drawn from a fixed seed."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    for rows, inner, columns in _PRODUCT_SIZES:
        yield _product(drawn(rows, inner), drawn(inner, columns))
    query = drawn(4, 8, 128, 64)
    yield Kernel(
        "attention 4x8x128x64", OperatorClass.MATMUL, lambda: F.scaled_dot_product_attention(query, query, query)
    )
    for name, batch, channels, out, size, image, groups in _CONVOLUTIONS:
        yield from _convolution(name, drawn(batch, channels, image, image), drawn(out, channels // groups, size, size), groups)
    for elements in _ELEMENTS:
        yield from _elementwise(drawn(elements))
    table, rows_N = drawn(30_000, 256), torch.randint(30_000, (2048,), generator=generator)
    yield Kernel("embedding 2048 rows of 256", OperatorClass.MEMORY, lambda: F.embedding(rows_N, table))
    for elements in _ELEMENTS[:2]:
        yield _random(elements)


def _product(a: Tensor, b: Tensor) -> Kernel:
    return Kernel(f"product {a.shape[0]}x{a.shape[1]}x{b.shape[1]}", OperatorClass.MATMUL, lambda: a @ b)


def _convolution(name: str, x: Tensor, weight: Tensor, groups: int) -> Iterator[Kernel]:
    padding = weight.shape[-1] // 2
    label = f"{name} {'x'.join(str(size) for size in x.shape)} to {weight.shape[0]}"
    forward, backward = OperatorClass.CONVOLUTION, OperatorClass.CONVOLUTION
    if groups > 1:
        forward, backward = OperatorClass.GROUPED_FORWARD, OperatorClass.GROUPED_BACKWARD
    elif weight.shape[-1] == 1:
        forward = OperatorClass.POINTWISE_FORWARD
    yield Kernel(f"{label} forward", forward, lambda: F.conv2d(x, weight, padding=padding, groups=groups))
    grad_y = torch.ones_like(F.conv2d(x, weight, padding=padding, groups=groups))

    def back() -> object:
        return torch.ops.aten.convolution_backward(
            grad_y, x, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], groups, [True, True, False]
        )

    yield Kernel(f"{label} backward", backward, back)


def _elementwise(x: Tensor) -> Iterator[Kernel]:
    rows = x.view(-1, 256)
    scale, shift = torch.ones(256), torch.zeros(256)
    yield Kernel(f"sum of two, {x.numel()} elements", OperatorClass.MEMORY, lambda: x + x)
    yield Kernel(f"gelu, {x.numel()} elements", OperatorClass.MEMORY, lambda: F.gelu(x))
    yield Kernel(
        f"layer norm, {x.numel()} elements", OperatorClass.MEMORY, lambda: F.layer_norm(rows, (256,), scale, shift)
    )


def _random(elements: int) -> Kernel:
    generator = torch.Generator().manual_seed(1)
    return Kernel(
        f"normal numbers, {elements}", OperatorClass.RANDOM, lambda: torch.randn(elements, generator=generator)
    )
