"""``fo-recompute``: exact gradients, block by block, with the optimizer inside backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from runtime.estimators.base import GradientEstimator, StepResult
from runtime.noise import NoiseKey
from runtime.optimizers import OptimizerInBackward
from runtime.split import Part
from runtime.wire import Batch, ServerLink
from scenarios.contracts.modes import Mode
from scenarios.schema import Training


class FirstOrderRecompute(GradientEstimator):
    """Keeps block inputs only; backward recomputes one block at a time (Chen et al., arXiv 1604.06174).

    Each parameter is updated, and its gradient freed, as soon as it exists. No activation outlives its block and no
    gradient its parameter's update.
    """

    mode = Mode.FO_RECOMPUTE
    keeps_batch_statistics = True

    def __init__(self, part: Part, training: Training) -> None:
        super().__init__(part, training)
        self._optimizer = OptimizerInBackward(training.optimizer, [parameter for _, parameter in part.trainable()])
        self._first_trained = next(
            (i for i, block in enumerate(part.ordered()) if any(p.requires_grad for p in block.parameters())),
            len(part.blocks),
        )

    def step(self, batch: Batch, link: ServerLink, key: NoiseKey) -> StepResult:
        """Forward without a graph, wait for λ, then backward one block at a time."""
        inputs, h = self._forward(batch)
        gradient, loss = link.exact(h, batch, wants_gradient=self.trains)
        del h
        blocks = self.part.ordered()
        for index in range(len(blocks) - 1, self._first_trained - 1, -1):
            x = inputs.pop().detach().requires_grad_(index > self._first_trained)
            with torch.enable_grad(), _statistics_untouched(blocks[index]):
                y = blocks[index](x, batch.mask_BS)
            y.backward(gradient)
            gradient = x.grad
            del x, y
        return StepResult(loss)

    def _forward(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return the inputs of the blocks that backward will visit, and the smashed data."""
        inputs: list[Tensor] = []
        x = batch.inputs
        with torch.no_grad():
            for index, block in enumerate(self.part.ordered()):
                if index >= self._first_trained:
                    inputs.append(x)
                x = block(x, batch.mask_BS)
        return inputs, x

    def close(self) -> None:
        """Detach the optimizer from the parameters."""
        self._optimizer.remove()


@contextmanager
def _statistics_untouched(block: nn.Module) -> Iterator[None]:
    """Recompute with batch statistics, as the first forward did, and leave the running ones as they are."""
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
