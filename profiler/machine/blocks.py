"""Time every kind of block of a scenario's model on this machine: forward, backward, update, perturbed forward."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridsplit.profiler.compute import block_costs, signature
from hybridsplit.profiler.costs import BlockCost, OperatorCost
from hybridsplit.profiler.kernels import CPU_KERNELS
from hybridsplit.profiler.machine.timing import WARM_UPS, Clock, Timed, summary, timed
from hybridsplit.profiler.models import TracedModel, traced_model
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.runtime.data.sources import head_size, model_blocks
from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.noise import NoiseKey, Perturbed, descend
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.optimizers import make_optimizer
from hybridsplit.runtime.split.parts import Part, SplitModel, task_loss
from hybridsplit.scenarios.schema import Scenario

PASSES = ("forward", "backward", "backward_without_input", "update", "perturbed_forward", "descend")
"""What is timed of a block: the passes of :class:`hybridsplit.profiler.compute.BlockCost`."""
_STEPS = 9


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
    """Time each kind of block, first to last.

    Forward, backward and update are timed within steps of the whole model, where caches and allocator are as training
    finds them; alone and repeated, a block is faster than it ever is there. Zeroth-order passes are timed alone.

    Raises
    ------
    ScenarioError, ProfileError
        If the model cannot be built or traced.
    """
    traced = traced_model(scenario)
    costs = block_costs(traced, scenario)
    kinds = block_kinds(scenario)
    model = SplitModel(model_blocks(scenario))
    batch = random_batch(traced, scenario)
    blocks = model.whole.ordered()
    samples = _steps(blocks, batch, scenario, clock)
    x = batch.inputs
    for index, (block, cost, kind) in enumerate(zip(blocks, costs, kinds, strict=True)):
        if kinds.index(kind) == index:
            name = f"{index + 1} {type(block).__name__}"
            alike = [other for other, same in enumerate(kinds) if same == kind]
            for what in ("forward", "backward", "backward_without_input", "update"):
                if found := [one for other in alike for one in samples.get((other, what), [])]:
                    yield BlockPass(name, what, getattr(cost, what), summary(found))
            yield from (
                one
                for one in _alone(name, block, x, batch, scenario, cost, clock, is_last=index == len(blocks) - 1)
                if (index, one.what) not in samples
            )
        with torch.no_grad():
            x = block(x, batch.mask_BS)


def _steps(
    blocks: Sequence[Block], batch: Batch, scenario: Scenario, clock: Clock
) -> dict[tuple[int, str], list[float]]:
    """Seconds of each block's passes, from a few training steps cut at the blocks' borders."""
    parts = [Part({0: block}) for block in blocks]
    trained = [[parameter for _, parameter in part.trainable()] for part in parts]
    optimizers = [make_optimizer(scenario.training.optimizer, some) if some else None for some in trained]
    found: dict[tuple[int, str], list[float]] = defaultdict(list)
    for step in range(WARM_UPS + _STEPS):
        kept: list[tuple[Tensor, Tensor]] = []
        marks: list[tuple[tuple[int, str], float]] = []
        h = batch.inputs
        for index, part in enumerate(parts):
            part.train()
            x = h.detach().requires_grad_(h.is_floating_point() and index > 0)
            begin = clock()
            h = part(x, batch.mask_BS)
            if index == len(parts) - 1:
                h = task_loss(h, batch.labels, scenario.model.loss_kind)
            marks.append(((index, "forward"), clock() - begin))
            kept.append((x, h))
        gradient: Tensor | None = None
        while kept and kept[-1][1].requires_grad:
            index = len(kept) - 1
            x, y = kept.pop()
            begin = clock()
            y.backward(gradient)  # type: ignore[no-untyped-call]
            what = "backward" if x.requires_grad else "backward_without_input"
            marks.append(((index, what), clock() - begin))
            gradient = x.grad
            del x, y
        kept.clear()
        for index, optimizer in enumerate(optimizers):
            if optimizer is not None:
                begin = clock()
                optimizer.step()
                marks.append(((index, "update"), clock() - begin))
                optimizer.zero_grad(set_to_none=True)
        if step >= WARM_UPS:
            for key, seconds in marks:
                found[key].append(seconds)
    return found


def block_kinds(scenario: Scenario) -> list[Hashable]:
    """What makes blocks alike, first to last: blocks of a kind are timed once."""
    traced = traced_model(scenario)
    kinds: list[Hashable] = []
    x = traced.batch.inputs
    blocks = traced.model.whole.ordered()
    with shapes_only(CPU_KERNELS, traced.memo), torch.no_grad():
        for position, block in enumerate(blocks, start=1):
            kinds.append(signature(block, x, is_last=position == len(blocks)))
            x = block(x, traced.batch.mask_BS)
    return kinds


def _alone(
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
    """Passes that a plain step has for few blocks or none: backward without input, perturbed forward, descent."""
    part = Part({0: block})
    parameters = [parameter for _, parameter in part.trainable()]
    if not parameters:
        return
    part.train()
    outputs: list[Tensor] = []

    def forward() -> None:
        for parameter in parameters:
            parameter.grad = None
        y = part(x.detach(), batch.mask_BS)
        outputs[:] = [task_loss(y, batch.labels, scenario.model.loss_kind) if is_last else y]

    forward()
    gradient = torch.ones_like(outputs[0])
    back = timed(lambda: outputs[0].backward(gradient), forward, clock)  # type: ignore[no-untyped-call]
    yield BlockPass(name, "backward_without_input", cost.backward_without_input, back)
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
    part.train()
