"""What running one block takes from memory, traced once for all blocks that are alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hybridsplit.profiler.compute import signature
from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.models import TracedModel
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.live_bytes import LiveBytes
from hybridsplit.runtime.split.optimizers import OptimizerInBackward
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.schema import Scenario, Training


@dataclass(frozen=True)
class GraphMemory:
    """Running a block with a graph, and backward through it with the update inside.

    Parameters
    ----------
    graph_bytes, saved_bytes
        Largest excess over the input on the way up, and what the graph keeps beside input and output.
    first_backward_bytes, later_backward_bytes
        Largest excess over graph and output gradient on the way down, in the first step, in which the optimizer's state
        is born, and in later ones.
    state_bytes
        Optimizer state, once born.
    """

    graph_bytes: int
    saved_bytes: int
    first_backward_bytes: int
    later_backward_bytes: int
    state_bytes: int


@dataclass(frozen=True)
class BlockMemory:
    """Live tensor bytes of one block; its parameters stand apart.

    Parameters
    ----------
    standing_bytes
        Parameters and buffers.
    input_bytes, output_bytes
        Activation below and above the block; the batch counts as standing, so the first block has no input.
    forward_bytes
        Largest excess over the input while the block runs without a graph, its output included.
    inner, lowest
        With a graph: for a block that passes a gradient on to the one below, and for the lowest that trains; None where
        the model's first block, or one without trainable parameters, cannot be that.
    """

    standing_bytes: int
    input_bytes: int
    output_bytes: int
    forward_bytes: int
    inner: GraphMemory | None
    lowest: GraphMemory | None


@dataclass(frozen=True)
class ChainMemory:
    """Memory of all blocks of a model.

    Parameters
    ----------
    blocks
        First to last.
    batch_bytes
        Inputs, labels and mask.
    loss_bytes
        Largest excess over the logits while a device computes loss and gradient itself; the gradient is part of it.
    """

    blocks: tuple[BlockMemory, ...]
    batch_bytes: int
    loss_bytes: int

    def first_trained(self, cut: int) -> int:
        """Return the lowest block that trains, counted from 1; ``cut + 1`` if none below the cut does."""
        return next((i for i, block in enumerate(self.blocks[:cut], 1) if block.lowest is not None), cut + 1)

    def standing_bytes(self, cut: int, *, has_state: bool = True) -> int:
        """Return what a client part holds throughout a later step: batch, parameters, buffers and optimizer state.

        ``has_state`` is false for a first step, during which the state is born.
        """
        first = self.first_trained(cut)
        state_bytes = 0
        for i, block in enumerate(self.blocks[:cut], 1):
            graph = block.lowest if i == first else block.inner
            state_bytes += graph.state_bytes if graph is not None and has_state else 0
        return self.batch_bytes + sum(block.standing_bytes for block in self.blocks[:cut]) + state_bytes


def chain_memory(traced: TracedModel, scenario: Scenario) -> ChainMemory:
    """Trace every distinct block of a model."""
    known: dict[Hashable, BlockMemory] = {}
    blocks: list[BlockMemory] = []
    batch = traced.batch
    x = batch.inputs
    with shapes_only(CPU_KERNELS, traced.memo):
        for position, block in enumerate(traced.model.whole.ordered()):
            key = position == 0, signature(block, x, is_last=False)
            if key not in known:
                known[key] = _block_memory(block, x, batch, scenario.training, is_first=position == 0)
            blocks.append(known[key])
            with torch.no_grad():
                x = block(x, batch.mask_BS)
        loss_bytes = loss_excess_bytes(x, batch, scenario)
    batch_bytes = _size_bytes([t for t in (batch.inputs, batch.labels, batch.mask_BS) if t is not None])
    return ChainMemory(tuple(blocks), batch_bytes, loss_bytes)


def _block_memory(block: Block, x: Tensor, batch: Batch, training: Training, *, is_first: bool) -> BlockMemory:
    part = Part({0: block})
    part.train()
    held = _Held(part, x, batch)
    with held.meter as meter, torch.no_grad():
        y = part(x, batch.mask_BS)
        forward_bytes, output_bytes = held.peak_excess_bytes, meter.live_bytes - held.standing_bytes
        del y
    trains = part.num_trainable > 0
    return BlockMemory(
        standing_bytes=_size_bytes([*part.parameters(), *part.buffers()]),
        input_bytes=0 if is_first else _size_bytes([x]),
        output_bytes=output_bytes,
        forward_bytes=forward_bytes,
        inner=None if is_first else _graph_memory(part, x, batch, training, wants_input=True),
        lowest=_graph_memory(part, x, batch, training, wants_input=False) if trains else None,
    )


class _Held:
    """A meter that knows what is there all the time, and gives the excess over it."""

    def __init__(self, part: Part, x: Tensor, batch: Batch) -> None:
        self.meter = LiveBytes()
        self.meter.track([*part.parameters(), *part.buffers(), x])
        self.meter.track([batch.mask_BS] if batch.mask_BS is not None else [])
        self.start_afresh()

    def start_afresh(self) -> None:
        """From now on, what is live stands."""
        self.standing_bytes = self.meter.live_bytes
        self.meter.peak_bytes = self.meter.live_bytes

    @property
    def peak_excess_bytes(self) -> int:
        """Largest excess since the start."""
        return self.meter.peak_bytes - self.standing_bytes


def _graph_memory(part: Part, x: Tensor, batch: Batch, training: Training, *, wants_input: bool) -> GraphMemory:
    """Run up and down twice: once while the optimizer's state is born, once with it."""
    optimizer = OptimizerInBackward(training.optimizer, part.trainable(), training.gradient_clip)
    held = _Held(part, x, batch)
    without_state_bytes = held.standing_bytes
    peaks: list[int] = []
    try:
        for _ in range(2):
            with held.meter as meter:
                held.start_afresh()
                leaf = x.detach().requires_grad_(wants_input)
                with torch.enable_grad():
                    y = part(leaf, batch.mask_BS)
                graph_bytes = held.peak_excess_bytes
                saved_bytes = meter.live_bytes - held.standing_bytes - _size_bytes([y])
                gradient = torch.empty_like(y)
                held.start_afresh()
                y.backward(gradient)
                peaks.append(held.peak_excess_bytes)
                del leaf, y, gradient
        state_bytes = held.meter.live_bytes - without_state_bytes
    finally:
        optimizer.remove()
        for parameter in part.parameters():
            parameter.grad = None
    return GraphMemory(graph_bytes, saved_bytes, peaks[0], peaks[1], state_bytes)


def loss_excess_bytes(logits: Tensor, batch: Batch, scenario: Scenario) -> int:
    """Largest excess over the logits while a device computes loss and gradient itself; the gradient is part of it."""
    server = ServerSide(Part({}), scenario.training, scenario.model.loss_kind)
    meter = LiveBytes()
    meter.track([logits, batch.labels])
    standing_bytes = meter.live_bytes
    with meter:
        server.exact(logits, batch, wants_gradient=True)
    return meter.peak_bytes - standing_bytes


def _size_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
