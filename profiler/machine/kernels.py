"""Operators by whose times a machine's operator classes are distinguished, at the sizes that training meets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridsplit.profiler.costs import OperatorClass, OperatorCost
from hybridsplit.profiler.operators import OperatorCounter


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
        counter = OperatorCounter()
        with counter:
            self.run()
        return counter.cost()


_PRODUCT_SIZES = (
    (64, 64, 64), (128, 128, 512), (512, 512, 512), (512, 256, 4096), (2048, 192, 768), (2048, 256, 256),
    (2048, 768, 192), (1024, 1024, 1024), (256, 3072, 768),
)  # fmt: skip
"""Tokens of a batch, inputs and outputs of a layer, from a toy model's to a base model's."""
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
_COLD_BYTES = 64 << 20
_MOST_COPIES = 64
_ELEMENTS = (1 << 14, 1 << 18, 1 << 22)


def kernels() -> Iterator[Kernel]:
    """All operators to time, smallest first within a class; inputs are drawn from a fixed seed."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    for tokens, inputs, outputs in _PRODUCT_SIZES:
        yield from _layer(drawn(tokens, inputs), drawn(outputs, inputs), drawn(tokens, outputs))
    query = drawn(4, 8, 128, 64)
    yield Kernel(
        "attention 4x8x128x64", OperatorClass.MATMUL, lambda: F.scaled_dot_product_attention(query, query, query)
    )
    for name, batch, channels, out, size, image, groups in _CONVOLUTIONS:
        yield from _convolution(
            name, drawn(batch, channels, image, image), drawn(out, channels // groups, size, size), groups
        )
    for elements in _ELEMENTS:
        yield from _elementwise(drawn(elements))
    table, rows_N = drawn(30_000, 256), torch.randint(30_000, (2048,), generator=generator)
    yield Kernel("embedding 2048 rows of 256", OperatorClass.MEMORY, lambda: F.embedding(rows_N, table))
    for elements in _ELEMENTS[:2]:
        yield _random(elements)


def _cold(run: Callable[..., object], *inputs: Tensor) -> Callable[[], object]:
    """Carry out an operator on the next of several copies of its inputs, so that caches hold none of them.

    In training an operator's inputs were made, or last read, long before; repeated on the same ones it would be timed
    at a speed that training never sees.
    """
    size = sum(x.numel() * x.element_size() for x in inputs)
    copies = min(_MOST_COPIES, max(1, -(-_COLD_BYTES // size)))
    turns = itertools.cycle([tuple(x.clone() for x in inputs) for _ in range(copies)])
    return lambda: run(*next(turns))


def _layer(x_TD: Tensor, weight_FD: Tensor, grad_TF: Tensor) -> Iterator[Kernel]:
    """The three products of a linear layer's training step: output, gradient of the input, gradient of the weight."""
    label = f"{x_TD.shape[0]} tokens, {x_TD.shape[1]} to {weight_FD.shape[0]}"
    kind = OperatorClass.MATMUL
    yield Kernel(f"output of {label}", kind, _cold(lambda x, w: x @ w.T, x_TD, weight_FD))
    yield Kernel(f"input gradient of {label}", kind, _cold(lambda g, w: g @ w, grad_TF, weight_FD))
    yield Kernel(f"weight gradient of {label}", kind, _cold(lambda g, x: g.T @ x, grad_TF, x_TD))


def _convolution(name: str, x: Tensor, weight: Tensor, groups: int) -> Iterator[Kernel]:
    padding = weight.shape[-1] // 2
    label = f"{name} {'x'.join(str(size) for size in x.shape)} to {weight.shape[0]}"
    forward, backward = OperatorClass.CONVOLUTION, OperatorClass.CONVOLUTION
    if groups > 1:
        forward, backward = OperatorClass.GROUPED_FORWARD, OperatorClass.GROUPED_BACKWARD
    elif weight.shape[-1] == 1:
        forward = OperatorClass.POINTWISE_FORWARD

    def ahead(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=padding, groups=groups)

    def back(grad_y: Tensor, x: Tensor, weight: Tensor) -> object:
        return torch.ops.aten.convolution_backward(
            grad_y, x, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], groups, [True, True, False]
        )

    yield Kernel(f"{label} forward", forward, _cold(ahead, x, weight))
    yield Kernel(f"{label} backward", backward, _cold(back, torch.ones_like(ahead(x, weight)), x, weight))


def _elementwise(x: Tensor) -> Iterator[Kernel]:
    scale, shift = torch.ones(256), torch.zeros(256)
    elements = f"{x.numel()} elements"
    kind = OperatorClass.MEMORY
    yield Kernel(f"sum of two, {elements}", kind, _cold(lambda a, b: a + b, x, x))
    yield Kernel(f"gelu, {elements}", kind, _cold(F.gelu, x))
    norm = partial(F.layer_norm, normalized_shape=(256,), weight=scale, bias=shift)
    yield Kernel(f"layer norm, {elements}", kind, _cold(norm, x.view(-1, 256)))


def _random(elements: int) -> Kernel:
    generator = torch.Generator().manual_seed(1)
    return Kernel(
        f"normal numbers, {elements}", OperatorClass.RANDOM, lambda: torch.randn(elements, generator=generator)
    )
