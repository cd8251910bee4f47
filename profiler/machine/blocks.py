"""Time every kind of block of a scenario's model on this machine: forward, backward, update, perturbed forward."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from profiler.attention import cpu_attention
from profiler.compute import BlockCost, block_costs, signature
from profiler.machine.timing import Clock, Timed, timed
from profiler.models import TracedModel, traced_model
from profiler.operators import OperatorCost
from profiler.shapes import shapes_only
from runtime.data import head_size
from runtime.models.blocks import Block
from runtime.models.build import build_blocks
from runtime.noise import NoiseKey, Perturbed, descend
from runtime.optimizers import make_optimizer
from runtime.split import Part, SplitModel, task_loss
from runtime.wire import Batch
from scenarios.schema import Scenario

PASSES = ("forward", "backward", "backward_without_input", "update", "perturbed_forward", "descend")
"""What is timed of a block: the passes of :class:`profiler.compute.BlockCost`."""


@dataclass(frozen=True)
class BlockPass:
    """One pass over one kind of block.

    Parameters
    ----------
    block
        Position of the first block of its kind, from 1, and its type.
    what
        One of :data:`PASSES`.
    work
        Its operators.
    took
        Its time.
    """

    block: str
    what: str
    work: OperatorCost
    took: Timed


def random_batch(traced: TracedModel, scenario: Scenario) -> Batch:
    """A batch of the scenario's shapes on real tensors, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    largest = head_size(scenario)
    config = scenario.model.config or {}

    def like(shape: Tensor, high: int) -> Tensor:
        if shape.is_floating_point():
            return torch.randn(shape.shape, generator=generator)
        return torch.randint(high, tuple(shape.shape), generator=generator)

    batch = traced.batch
    is_language = scenario.model.task == "causal-lm"
    inputs = like(batch.inputs, _vocabulary(traced, config))
    labels = inputs.clone() if is_language else like(batch.labels, int(largest or config.get("num_labels", 2)))
    mask_BS = None if batch.mask_BS is None else torch.ones(tuple(batch.mask_BS.shape), dtype=torch.bool)
    return Batch(inputs, labels, mask_BS)


def _vocabulary(traced: TracedModel, config: dict[str, object]) -> int:
    first = traced.model.whole.ordered()[0]
    sizes = [module.num_embeddings for module in first.modules() if isinstance(module, nn.Embedding)]
    return max(sizes, default=2)


def time_blocks(scenario: Scenario, clock: Clock = time.perf_counter) -> Iterator[BlockPass]:
    """Time each kind of block once, first to last.

    Raises
    ------
    ScenarioError, ProfileError
        If the model cannot be built or traced.
    """
    traced = traced_model(scenario)
    costs = block_costs(traced, scenario)
    model = SplitModel(build_blocks(scenario, num_labels=head_size(scenario)))
    batch = random_batch(traced, scenario)
    x = batch.inputs
    seen: set[Hashable] = set()
    blocks = model.whole.ordered()
    for position, (block, cost) in enumerate(zip(blocks, costs, strict=True), start=1):
        is_last = position == len(blocks)
        key = signature(block, x, is_last=is_last)
        if key not in seen:
            seen.add(key)
            yield from _passes(
                f"{position} {type(block).__name__}", block, x, batch, scenario, cost, clock, is_last=is_last
            )
        with torch.no_grad():
            x = block(x, batch.mask_BS)


def block_kinds(scenario: Scenario) -> list[Hashable]:
    """What makes blocks alike, first to last: blocks of a kind are timed once."""
    traced = traced_model(scenario)
    kinds: list[Hashable] = []
    x = traced.batch.inputs
    blocks = traced.model.whole.ordered()
    with shapes_only(cpu_attention, traced.memo), torch.no_grad():
        for position, block in enumerate(blocks, start=1):
            kinds.append(signature(block, x, is_last=position == len(blocks)))
            x = block(x, traced.batch.mask_BS)
    return kinds


def _backward(outputs: list[Tensor], gradient: Tensor) -> None:
    outputs[0].backward(gradient)  # type: ignore[no-untyped-call]


def _passes(
    name: str,
    block: Block,
    x: Tensor,
    batch: Batch,
    scenario: Scenario,
    cost: BlockCost,
    clock: Clock,
    *,
    is_last: bool,
) -> Iterator[BlockPass]:
    part = Part({0: block})
    part.train()
    parameters = [parameter for _, parameter in part.trainable()]

    def run(x_in: Tensor) -> Tensor:
        y = part(x_in, batch.mask_BS)
        return task_loss(y, batch.labels, scenario.model.task) if is_last else y

    with torch.no_grad():
        yield BlockPass(name, "forward", cost.forward, timed(lambda: run(x), clock=clock))
    outputs: list[Tensor] = []

    def forward(wants_input: bool) -> None:
        for parameter in parameters:
            parameter.grad = None
        outputs[:] = [run(x.detach().requires_grad_(wants_input))]

    for what, wants_input in (("backward", True), ("backward_without_input", False)):
        if not (wants_input or parameters) or (wants_input and not x.is_floating_point()):
            continue
        forward(wants_input)
        gradient = torch.ones_like(outputs[0])
        back = partial(_backward, outputs, gradient)
        yield BlockPass(name, what, getattr(cost, what), timed(back, partial(forward, wants_input), clock))
    if not parameters:
        return
    optimizer = make_optimizer(scenario.training.optimizer, parameters)
    yield BlockPass(name, "update", cost.update, timed(optimizer.step, clock=clock))
    for parameter in parameters:
        parameter.grad = None
    part.eval()
    noise = NoiseKey(0, "client", "", 0, 0)
    with torch.no_grad():
        probe = Perturbed(part.trainable(), noise, 0, 1e-3)

        def perturbed() -> None:
            with probe:
                part(x, batch.mask_BS)

        yield BlockPass(name, "perturbed_forward", cost.perturbed_forward, timed(perturbed, clock=clock))
        moved = timed(lambda: descend(part.trainable(), noise, [0.0], probe.rows), clock=clock)
        yield BlockPass(name, "descend", cost.descend, moved)
