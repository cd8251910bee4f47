"""Recording: what a forward pass may do besides calling layers, and what it may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hybridsplit.runtime.models.traced.block import TracedBlock
from hybridsplit.runtime.models.traced.decompose import blocks_between, trace
from hybridsplit.runtime.models.traced.record import UntraceableError
from hybridsplit.runtime.noise import NoiseKey, Perturbed
from hybridsplit.runtime.split.parts import Part

WIDTH, LENGTH = 6, 5


class Awkward(nn.Module):
    """Views of memory that is written to later, tables, constants filled in place, and a batch folded into windows."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.scale = nn.Parameter(torch.full((WIDTH,), 2.0))
        self.register_buffer("table", torch.arange(WIDTH) / WIDTH, persistent=False)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.mixed = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        h = self.layers[0](x) + self.table
        first = h[:, 0]
        h += 1.0
        h = torch.relu_(h)
        h = self.layers[1](h) + first.unsqueeze(1)
        weights = torch.zeros(LENGTH)
        weights[1:3] = 1.0
        weights[0] += 0.5
        h = self.layers[2](h) * weights.unsqueeze(-1) + self.table * self.scale
        batch_size = h.shape[0]
        h = h.reshape(batch_size * LENGTH, WIDTH)
        h = self.norm(h)
        left, right = h.chunk(2, dim=-1)
        h = torch.cat([right, left], dim=-1).view(batch_size, LENGTH, WIDTH)
        if mask is not None:
            h = h.masked_fill(~mask.unsqueeze(-1), 0.0)
        return self.layers[3](h @ self.mixed.T)


def cut_up(model: nn.Module, make: Callable[[], nn.Module], *, with_mask: bool) -> list[TracedBlock]:
    with torch.device("meta"):
        shapes = make()

    def example(batch_size: int) -> tuple[Tensor, Tensor | None]:
        mask = torch.empty(batch_size, LENGTH, dtype=torch.bool, device="meta") if with_mask else None
        return torch.empty(batch_size, LENGTH, WIDTH, device="meta"), mask

    traced = trace(shapes, shapes, example)
    return blocks_between(traced, traced.cuts, model)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("with_mask", [False, True])
def test_blocks_repeat_an_awkward_forward(batch_size: int, with_mask: bool) -> None:
    torch.manual_seed(0)
    model = Awkward()
    blocks = cut_up(model, Awkward, with_mask=with_mask)
    assert len(blocks) > 2
    x = torch.randn(batch_size, LENGTH, WIDTH)
    mask = torch.rand(batch_size, LENGTH) > 0.3 if with_mask else None
    statistics = [
        module.running_mean for block in blocks for module in block.modules() if hasattr(module, "running_mean")
    ]
    assert statistics == [model.norm.running_mean], "the model's own module, not a copy"
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for is_training in (True, False):
        results = []
        for run in (Part(dict(enumerate(blocks))), model):
            model.load_state_dict(state)
            run.train(is_training)
            model.zero_grad(set_to_none=True)
            y = run(x, mask)
            y.square().sum().backward()
            gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            results.append((y, gradients, model.norm.running_mean.clone()))
        torch.testing.assert_close(results[0], results[1])


def test_no_cut_parts_a_view_from_what_writes_its_memory() -> None:
    blocks = cut_up(Awkward(), Awkward, with_mask=False)
    names = [{name for name, _ in block.named_parameters()} for block in blocks]
    together = [n for n in names if any("0" in part for part in n)]
    assert len(together) == 1


def test_blocks_hold_buffers_of_their_own() -> None:
    """Two blocks read the table: each has its copy, and none is exchanged."""
    blocks = cut_up(Awkward(), Awkward, with_mask=False)
    tables = [buffer for block in blocks for name, buffer in block.named_buffers() if name.endswith("table")]
    assert len(tables) == 2
    assert tables[0].data_ptr() != tables[1].data_ptr()
    assert not [name for name in Part(dict(enumerate(blocks))).exchanged() if name.endswith("table")]


def test_probes_reach_every_parameter() -> None:
    """Also one that is read through a transposed view."""
    torch.manual_seed(0)
    part = Part(dict(enumerate(cut_up(Awkward(), Awkward, with_mask=False)))).eval()
    x = torch.randn(2, LENGTH, WIDTH)
    with torch.no_grad():
        plain = part(x)
        for name, parameter in part.trainable():
            with Perturbed([(name, parameter)], NoiseKey(0, "client", "", 0, 0), 0, 0.1):
                assert not torch.equal(part(x), plain), name


class Random(Awkward):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return super().forward(x, mask) + torch.randn(WIDTH)


class Decides(Awkward):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return super().forward(x, mask) if x.sum() > 0 else x


class CountsTheBatch(Awkward):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = super().forward(x, mask)
        for _ in range(x.shape[0]):
            y = y + 1
        return y


@pytest.mark.parametrize(
    ("kind", "message"),
    [(Random, "random numbers"), (Decides, "item|meta"), (CountsTheBatch, "batch size")],
)
def test_what_cannot_be_repeated_is_refused(kind: type[nn.Module], message: str) -> None:
    with pytest.raises((UntraceableError, RuntimeError), match=message):
        cut_up(kind(), kind, with_mask=False)
