"""Compute per block: operators of forward, backward, update and perturbed forward, traced on the meta device.

Blocks that are alike (type, parameters, input shape) are traced once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable

import torch
from torch import Tensor, nn

from hybridsplit.profiler.costs import NO_WORK, BlockCost, OperatorCost
from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.models import TracedModel
from hybridsplit.profiler.operators import OperatorCounter
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.noise import NoiseKey, Perturbed, descend, tangent_along
from hybridsplit.runtime.split.optimizers import PartOptimizer, is_plain
from hybridsplit.runtime.split.parts import Part, task_loss
from hybridsplit.scenarios.schema import GradientClip, Optimizer, Scenario, Training, ZerothOrder

_Run = Callable[[Tensor], Tensor]


def signature(block: Block, x: Tensor, *, is_last: bool) -> Hashable:
    """Return what two blocks share if they cost the same.

    Parameters
    ----------
    block, x
        The block and its input.
    is_last
        Whether it computes the loss as well.
    """
    shapes = tuple((name, tuple(p.shape), p.requires_grad) for name, p in block.named_parameters())
    buffers = tuple((name, tuple(b.shape)) for name, b in block.named_buffers())
    return block.kind, shapes, buffers, tuple(x.shape), x.dtype, is_last


def block_signatures(traced: TracedModel) -> list[Hashable]:
    """Return the signature of every block, first to last."""
    result: list[Hashable] = []
    x = traced.batch.inputs
    last = traced.model.num_blocks - 1
    with shapes_only(CPU_KERNELS, traced.memo), torch.no_grad():
        for index, block in enumerate(traced.model.whole.ordered()):
            result.append(signature(block, x, is_last=index == last))
            x = block(x, traced.batch.mask_BS)
    return result


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
            key = index == 0, signature(block, x, is_last=index == last)
            if key not in known:
                known[key] = _trace(block, x, traced, scenario, is_first=index == 0, is_last=index == last)
            costs.append(known[key])
            with torch.no_grad():
                x = block(x, traced.batch.mask_BS)
    return costs


def head_costs(traced: TracedModel, scenario: Scenario) -> list[BlockCost]:
    """Return the cost of the auxiliary head behind every cut, its loss included, first to last; none without heads.

    Raises
    ------
    ProfileError
        If a matmul-class operator has no cost formula.
    """
    known: dict[Hashable, BlockCost] = {}
    costs: list[BlockCost] = []
    x = traced.batch.inputs
    with shapes_only(CPU_KERNELS, traced.memo):
        for cut, block in enumerate(traced.model.whole.ordered()[:-1], start=1):
            with torch.no_grad():
                x = block(x, traced.batch.mask_BS)
            head = traced.model.head(cut)
            if head is None:
                return []
            key = signature(head, x, is_last=True)
            if key not in known:
                known[key] = _trace(head, x, traced, scenario, is_first=False, is_last=True)
            costs.append(known[key])
    return costs


def _trace(
    block: Block, x: Tensor, traced: TracedModel, scenario: Scenario, *, is_first: bool, is_last: bool
) -> BlockCost:
    part = Part({0: block})
    part.train()
    parameters = [parameter for _, parameter in part.trainable()]
    differentiable = x.is_floating_point()

    def run(x_in: Tensor) -> Tensor:
        y = part(x_in, traced.batch.mask_BS)
        return task_loss(y, traced.batch.labels, scenario.model.loss_kind) if is_last else y

    with OperatorCounter() as forward, torch.no_grad():
        run(x)
    with_input = _backward(run, x.detach().requires_grad_(True)) if differentiable else NO_WORK
    _forget_gradients(parameters)
    without_input = _backward(run, x.detach()) if parameters else NO_WORK
    _forget_gradients(parameters)
    training = scenario.training
    update = _update(part, training.optimizer, training.gradient_clip)
    on_server = training.server_optimizer
    server_update = update if on_server is None else _update(part, on_server, training.gradient_clip)
    part.eval()
    perturbed, moved = _zeroth_order(part, x, traced, training.zeroth_order)
    return BlockCost(
        forward=forward.cost(),
        backward=with_input,
        backward_without_input=without_input,
        update=update,
        server_update=server_update,
        perturbed_forward=perturbed,
        forward_mode=_forward_mode(part, x, traced, training.zeroth_order, is_first=is_first),
        descend=moved,
        estimated_update=NO_WORK if is_plain(training.zeroth_order.optimizer) else _estimated_update(part, training),
        exchanged_bytes=sum(t.numel() * t.element_size() for t in part.exchanged().values()),
        num_trainable=part.num_trainable,
    )


def _update(part: Part, settings: Optimizer, clip: GradientClip | None) -> OperatorCost:
    """Count an optimizer step; the first is where the state is born, the second what every further step costs."""
    optimizer = PartOptimizer(settings, part.trainable(), clip)
    counter = OperatorCounter()
    for counting in (contextlib.nullcontext(), counter):
        for _, parameter in part.trainable():
            parameter.grad = torch.empty_like(parameter)
        with counting:
            optimizer.step()
    return counter.cost()


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


def _noise(settings: ZerothOrder) -> NoiseKey:
    return NoiseKey(0, "client", "", 0, 0, settings.distribution)


def _zeroth_order(
    part: Part, x: Tensor, traced: TracedModel, settings: ZerothOrder
) -> tuple[OperatorCost, OperatorCost]:
    key = _noise(settings)
    with torch.no_grad():
        probe = Perturbed(part.trainable(), key, 0, settings.radius)
        with OperatorCounter() as counter, probe:
            part(x, traced.batch.mask_BS)
        with OperatorCounter() as moved:
            descend(part.trainable(), key, [0.0], probe.rows)
    return counter.cost(), moved.cost()


def _forward_mode(
    part: Part, x: Tensor, traced: TracedModel, settings: ZerothOrder, *, is_first: bool
) -> OperatorCost | None:
    if settings.derivative != "forward-mode":
        return None
    counter = OperatorCounter()
    with counter:
        # Above the lowest block activations are dual numbers as well.
        tangent = None if is_first else torch.empty_like(x)
        tangent_along(lambda y: part(y, traced.batch.mask_BS), x, part.trainable(), _noise(settings), 0, tangent)
    return counter.cost()


def _estimated_update(part: Part, training: Training) -> OperatorCost:
    """An optimizer step on the estimated gradient, once its state exists; no gradient is clipped here."""
    return _update(part, training.zeroth_order.optimizer, None)
