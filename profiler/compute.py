"""Compute per block: operators of forward, backward, update and perturbed forward, traced on the meta device.

Blocks that are alike (type, parameters, input shape) are traced once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from profiler.kernels import CPU_KERNELS
from profiler.models import TracedModel
from profiler.operators import NO_WORK, OperatorCost, OperatorCounter
from profiler.shapes import shapes_only
from runtime.models.blocks import Block
from runtime.noise import NoiseKey, Perturbed, descend
from runtime.optimizers import make_optimizer
from runtime.split import Part, task_loss
from scenarios.schema import Scenario

_Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BlockCost:
    """What one block costs a step.

    Parameters
    ----------
    forward
        Forward pass; with the loss, for the last block.
    backward, backward_without_input
        Backward pass with and without the gradient of the block's input (the lowest trained block needs none).
    update
        Optimizer step.
    perturbed_forward
        Forward pass with one perturbation direction, noise included.
    descend
        Moving the parameters along one direction, noise included.
    exchanged_bytes
        What travels between rounds: trained parameters and statistics.
    num_trainable
        Trained scalars.
    """

    forward: OperatorCost
    backward: OperatorCost
    backward_without_input: OperatorCost
    update: OperatorCost
    perturbed_forward: OperatorCost
    descend: OperatorCost
    exchanged_bytes: int
    num_trainable: int


def signature(block: Block, x: Tensor, *, is_last: bool) -> Hashable:
    """What makes two blocks cost the same."""
    shapes = tuple((name, tuple(p.shape), p.requires_grad) for name, p in block.named_parameters())
    buffers = tuple((name, tuple(b.shape)) for name, b in block.named_buffers())
    return block.kind, shapes, buffers, tuple(x.shape), x.dtype, is_last


def block_costs(traced: TracedModel, scenario: Scenario) -> list[BlockCost]:
    """Return the cost of every block, first to last.

    Raises
    ------
    ProfileError
        If a matmul-class operator has no cost formula.
    """
    known: dict[Hashable, BlockCost] = {}
    costs: list[BlockCost] = []
    x = traced.batch.inputs
    last = traced.model.num_blocks - 1
    with shapes_only(CPU_KERNELS, traced.memo):
        for index, block in enumerate(traced.model.whole.ordered()):
            key = signature(block, x, is_last=index == last)
            if key not in known:
                known[key] = _trace(block, x, traced, scenario, is_last=index == last)
            costs.append(known[key])
            with torch.no_grad():
                x = block(x, traced.batch.mask_BS)
    return costs


def _trace(block: Block, x: Tensor, traced: TracedModel, scenario: Scenario, *, is_last: bool) -> BlockCost:
    part = Part({0: block})
    part.train()
    parameters = [parameter for _, parameter in part.trainable()]
    differentiable = x.is_floating_point()

    def run(x_in: Tensor) -> Tensor:
        y = part(x_in, traced.batch.mask_BS)
        return task_loss(y, traced.batch.labels, scenario.model.task) if is_last else y

    with OperatorCounter() as forward, torch.no_grad():
        run(x)
    with_input = _backward(run, x.detach().requires_grad_(True)) if differentiable else NO_WORK
    _forget_gradients(parameters)
    without_input = _backward(run, x.detach()) if parameters else NO_WORK
    _forget_gradients(parameters)
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    update = NO_WORK
    if parameters:
        optimizer = make_optimizer(scenario.training.optimizer, parameters)
        # The first step is where the state is born; the second is what every further step costs.
        optimizer.step()
        with OperatorCounter() as counter:
            optimizer.step()
        update = counter.cost()
    _forget_gradients(parameters)
    part.eval()
    perturbed, moved = _zeroth_order(part, x, traced)
    return BlockCost(
        forward=forward.cost(),
        backward=with_input,
        backward_without_input=without_input,
        update=update,
        perturbed_forward=perturbed,
        descend=moved,
        exchanged_bytes=sum(t.numel() * t.element_size() for t in part.exchanged().values()),
        num_trainable=part.num_trainable,
    )


def _forget_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Let every trace start as a step does: the first gradient is written, not added."""
    for parameter in parameters:
        parameter.grad = None


def _backward(run: _Run, x: Tensor) -> OperatorCost:
    with torch.enable_grad():
        y = run(x)
    if not y.requires_grad:
        return NO_WORK
    gradient = torch.empty_like(y)
    counter = OperatorCounter()
    with counter:
        y.backward(gradient)  # type: ignore[no-untyped-call]
    return counter.cost()


def _zeroth_order(part: Part, x: Tensor, traced: TracedModel) -> tuple[OperatorCost, OperatorCost]:
    key = NoiseKey(0, "client", "", 0, 0)
    with torch.no_grad():
        probe = Perturbed(part.trainable(), key, 0, 1e-3)
        with OperatorCounter() as counter, probe:
            part(x, traced.batch.mask_BS)
        with OperatorCounter() as moved:
            descend(part.trainable(), key, [0.0], probe.rows)
    return counter.cost(), moved.cost()
