"""Blocks that do odd things to memory, from which tests make random chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridsplit.profiler.models import TracedModel
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel

WIDTH, NUM_CLASSES = 12, 5
BATCH_SIZE = 6

Body = Callable[["OddBlock", Tensor], Tensor]


class OddBlock(Block):
    """A block with a square weight, a bias, a scale and a normalisation, of which its body uses what it likes."""

    def __init__(self, name: str, *, frozen: bool) -> None:
        super().__init__()
        self.name = name
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.wide = nn.Linear(WIDTH, 3 * WIDTH)
        self.scale = nn.Parameter(torch.empty(WIDTH))
        self.shift = nn.Parameter(torch.empty(BATCH_SIZE, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.statistics = nn.BatchNorm1d(WIDTH)
        self.requires_grad_(not frozen)

    @property
    def kind(self) -> str:
        """The name of the body."""
        return self.name

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map [B, D] to [B, D]."""
        return BODIES[self.name](self, x)


class Head(Block):
    """Logits [B, K]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, NUM_CLASSES)

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map [B, D] to [B, K]."""
        return self.linear(x)  # type: ignore[no-any-return]


BODIES: dict[str, Body] = {
    "linear": lambda b, x: b.linear(x),
    "wide": lambda b, x: F.gelu(b.wide(x)).view(-1, 3, WIDTH).sum(1),
    "keeps its output": lambda b, x: torch.relu(b.linear(x)),
    "keeps input and output": lambda b, x: torch.sigmoid(x) * b.scale,
    "is identity": lambda b, x: x,
    "is a view": lambda b, x: x.view(x.shape[0], 3, -1).flatten(1),
    "writes into its input": lambda b, x: (x + 0).relu_() if x.is_leaf else x.relu_(),
    "adds to its input": lambda b, x: x + b.linear(x),
    "uses its input three times": lambda b, x: x * torch.tanh(x) + b.norm(x),
    "gives a part of its memory": lambda b, x: b.wide(x)[:, WIDTH : 2 * WIDTH],
    "gives columns": lambda b, x: b.linear(x).t().contiguous().t(),
    "is a middle slice of a stack": lambda b, x: torch.stack([x, b.norm(x), b.linear(x)])[1],
    "normalises over the batch": lambda b, x: b.statistics(x),
    "passes its gradient to a parameter": lambda b, x: x + b.shift,
    "gives a parameter's gradient back": lambda b, x: x * b.scale + b.shift.view(-1, WIDTH),
    "sums in double precision": lambda b, x: (x.double() * b.scale).cumsum(0).to(x.dtype),
    "chunks and swaps": lambda b, x: torch.cat(x.chunk(2, dim=1)[::-1], dim=1) + b.linear.bias,
    "expands one row": lambda b, x: x + b.linear(x[:1]).expand_as(x),
}


def chain_of(names: Sequence[str], frozen: Sequence[bool]) -> TracedModel:
    """Return a model of such blocks and a head, as shapes."""
    with torch.device("meta"):
        blocks: list[Block] = [OddBlock(name, frozen=is_frozen) for name, is_frozen in zip(names, frozen, strict=True)]
        batch = Batch(torch.empty(BATCH_SIZE, WIDTH), torch.empty(BATCH_SIZE, dtype=torch.int64))
        return TracedModel(SplitModel([*blocks, Head()]), batch)
