"""``fo-recompute``: exact gradients, block by block, with the optimizer inside backward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.optimizers import NamedOptimizer, OptimizerInBackward
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.contracts.recompute import LADDER, Action, check_order, one_input_per_block, parse_order
from hybridsplit.scenarios.schema import Training


@dataclass
class Exchange:
    """What a pass hands to the other side, and gets from it; neither is held any longer than that.

    Parameters
    ----------
    smashed
        Smashed data, in the shape of the activation at the cut.
    gradient
        λ in the same shape; None where the client trains nothing.
    """

    smashed: Tensor | None = None
    gradient: Tensor | None = None


class FirstOrderRecompute(GradientEstimator):
    """Keeps some block inputs; backward recomputes what it needs, one block with a graph at a time.

    With one kept input per block every block is recomputed once (Chen et al., arXiv 1604.06174); with fewer, blocks are
    run again from the kept input below them, in that order. Each parameter is updated, and its gradient
    freed, as soon as it exists. No activation outlives its block and no gradient its parameter's update.

    Parameters
    ----------
    part, training
        As for every mode.
    recompute
        The recompute order as text (see :mod:`hybridsplit.scenarios.contracts.recompute`); empty for one kept input per
        block, which a ladder begins with as well (:meth:`follow`).

    Raises
    ------
    ContractError
        If the recompute order does not fit this part.
    """

    keeps_batch_statistics = True

    def __init__(self, part: Part, training: Training, recompute: str = "") -> None:
        super().__init__(part, training)
        self._optimizer = OptimizerInBackward(training.optimizer, part.trainable(), training.gradient_clip)
        self._first_trained = next(
            (i for i, block in enumerate(part.ordered(), 1) if any(p.requires_grad for p in block.parameters())),
            len(part.blocks) + 1,
        )
        self.follow("" if recompute == LADDER else recompute)

    def follow(self, recompute: str) -> None:
        """Run the steps from now on in an order; no activation lives between steps, so that it may be any.

        Parameters
        ----------
        recompute
            The order as text; empty for one kept input per block.

        Raises
        ------
        ContractError
            If it does not fit this part.
        """
        num_blocks = len(self.part.blocks)
        self.order = parse_order(recompute) or one_input_per_block(num_blocks, self._first_trained)
        check_order(self.order, num_blocks, self._first_trained)

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Carry out the recompute order; the smashed data goes up when the last block has run for the first time.

        What the order drops then is freed before λ is received.
        """
        exchange = Exchange()
        halves = self.halves(batch, exchange)
        next(halves)
        assert exchange.smashed is not None
        exchange.gradient, loss = link.exact(exchange.smashed, batch, wants_gradient=self.trains)
        exchange.smashed = None
        next(halves, None)
        return StepResult(loss)

    def halves(self, batch: Batch, exchange: Exchange) -> Iterator[None]:
        """Carry out the recompute order up to the exchange, and from there to the end.

        Parameters
        ----------
        batch
            The mini-batch, or a part of it.
        exchange
            Has the smashed data at the end of the first half; λ belongs there before the second one.
        """
        blocks = self.part.ordered()
        kept: dict[int, Tensor] = {}
        graphs: dict[int, tuple[Tensor, Tensor]] = {}
        here, reached = 1, 0
        x, gradient = batch.inputs, None
        is_sent = False
        for action, index in ((step.action, step.block) for step in self.order):
            if action is Action.DROP:
                _drop(index, kept, graphs)
                continue
            if reached == len(blocks) and not is_sent:
                # Nothing runs on from the last block, so that its output lives on in its graph alone.
                exchange.smashed, x, is_sent = x, batch.inputs, True
                yield
                gradient, exchange.gradient = exchange.gradient, None
            if action is Action.BACKWARD:
                kept.pop(index, None)
                gradient = _backward(*graphs.pop(index), gradient)
                here, x = 0, batch.inputs
                continue
            if index != here:
                x = kept[index]
            if action is Action.KEEP:
                kept[index] = x
            block = blocks[index - 1]
            with contextlib.nullcontext() if index > reached else statistics_untouched(block):
                if action is Action.GRAPH:
                    graphs[index] = self._with_graph(block, index, x, batch)
                    x = graphs[index][1].detach()
                else:
                    with torch.no_grad():
                        x = block(x, batch.mask_BS)
            here = index + 1
            reached = max(reached, index)
            if is_sent and here > len(blocks):
                x = batch.inputs
        if not is_sent:
            exchange.smashed = x
            yield

    def sum_up(self, weights: Sequence[float] = ()) -> None:
        """Let the next second half be one of several that make one step; see :meth:`OptimizerInBackward.sum_up`.

        Parameters
        ----------
        weights
            Of all of them, with the last.
        """
        self._optimizer.sum_up(weights)

    def _with_graph(self, block: nn.Module, index: int, x: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the block's input, as the leaf of a graph, and its output."""
        leaf = x.detach().requires_grad_(index > self._first_trained)
        with torch.enable_grad():
            return leaf, block(leaf, batch.mask_BS)

    @property
    def _kept_by(self) -> NamedOptimizer:
        return self._optimizer

    def close(self) -> None:
        """Detach the optimizer from the parameters."""
        self._optimizer.remove()


def _drop(index: int, kept: dict[int, Tensor], graphs: dict[int, tuple[Tensor, Tensor]]) -> None:
    """Free a block's graph, whose input stays kept, or its kept input."""
    graph = graphs.pop(index, None)
    if graph is None:
        del kept[index]
    else:
        kept[index] = graph[0].detach()


def _backward(leaf: Tensor, y: Tensor, gradient: Tensor | None) -> Tensor | None:
    """Return the gradient of a block's input, given that of its output."""
    y.backward(gradient)  # type: ignore[no-untyped-call]
    return leaf.grad


@contextmanager
def statistics_untouched(block: nn.Module) -> Iterator[None]:
    """Recompute with batch statistics, as the first forward did, and leave the running ones as they are."""
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
