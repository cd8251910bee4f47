"""What every block costs on every device of a network of relays, at every number of micro-batches.

The same traces as for one cut: operators of a block become seconds by a device's roofline, and its memory is what the
tracer of live tensors counts. A micro-batch is traced as a batch of its own size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridsplit.profiler.compute import block_costs
from hybridsplit.profiler.costs import BlockCost
from hybridsplit.profiler.data_check import check_data
from hybridsplit.profiler.device_rows import clock_of
from hybridsplit.profiler.memory.blocks import ChainMemory, chain_memory
from hybridsplit.profiler.micro_batches import check_statistics
from hybridsplit.profiler.mode_costs import Clock, block_seconds
from hybridsplit.profiler.models import TracedModel, block_graph, smashed_bytes, traced_model, with_batch_size
from hybridsplit.profiler.profiles import OnProgress
from hybridsplit.profiler.roofline import check_can_train
from hybridsplit.scenarios.contracts.relay_costs import IntArray, MicroBatchCosts, RelayCosts
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.relays.loading import single_cut
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.schema import Scenario


def relay_costs(scenario: RelayScenario, on_progress: OnProgress = lambda what, share: None) -> RelayCosts:
    """Return the costs of all blocks.

    Parameters
    ----------
    scenario
        The scenario.
    on_progress
        Called with what is being done and the share of it that is done.

    Raises
    ------
    ScenarioError
        If a device cannot run the model or lacks a figure, or micro-batches do not go together with the model.
    ProfileError
        If a cost cannot be determined; it is never replaced by zero.
    """
    base = single_cut(scenario)
    clocks = _clocks(scenario)
    check_data(base, None, on_progress)
    on_progress("loading PyTorch, and tracing blocks", 0.0)
    traced = traced_model(base)
    if scenario.trains:
        check_statistics(traced, "training.micro_batches", scenario.training.micro_batches)
    numbers = sorted(scenario.training.micro_batches)
    by_number: dict[int, MicroBatchCosts] = {}
    for position, number in enumerate(numbers):
        on_progress(f"tracing blocks at {number} micro-batches", position / len(numbers))
        part = with_batch_size(traced, base, scenario.training.batch_size // number)
        by_number[number] = _micro_batch(part, base, clocks, trains=scenario.trains)
    chain = chain_memory(traced, base)
    costs = block_costs(traced, base)
    first = chain.first_trained(len(costs)) - 1
    graphs = [block.lowest if index == first else block.inner for index, block in enumerate(chain.blocks)]
    state = [graph.state_bytes if graph is not None and index >= first else 0 for index, graph in enumerate(graphs)]
    element_bytes = 2 if base.model.dtype == "bfloat16" and not base.model.has_master_weights else 4
    gradients = [element_bytes * cost.num_trainable for cost in costs]
    zero = np.zeros(len(costs))
    return RelayCosts(
        kinds=tuple(block.kind for block in traced.model.whole.ordered()),
        by_micro_batches=by_number,
        update_s={
            name: block_seconds(clock, costs).update.copy() if scenario.trains else zero
            for name, clock in clocks.items()
        },
        standing_bytes=_integers([block.standing_bytes for block in chain.blocks]),
        trained_bytes=_integers([a + b if scenario.trains else 0 for a, b in zip(state, gradients, strict=True)]),
        gradient_bytes=_integers([size if scenario.trains else 0 for size in gradients]),
        exchanged_bytes=_integers([cost.exchanged_bytes if scenario.trains else 0 for cost in costs]),
        batch_bytes=chain.batch_bytes,
    )


def _clocks(scenario: RelayScenario) -> dict[str, Clock]:
    """Seconds of work on every device that may run blocks."""
    named = [(f"clients.{index}.device", one.device) for index, one in enumerate(scenario.clients)]
    named += [(f"network.nodes.{i}.device", one.device) for i, one in enumerate(scenario.network.nodes) if one.device]
    clocks: dict[str, Clock] = {}
    for where, name in named:
        device = find_device(name, scenario.devices, where)
        check_can_train(device, where)
        clocks[name] = clock_of(device)
    return clocks


def _micro_batch(traced: TracedModel, base: Scenario, clocks: dict[str, Clock], *, trains: bool) -> MicroBatchCosts:
    graph = block_graph(traced)  # first: it says what is wrong with shapes
    costs = block_costs(traced, base)
    chain = chain_memory(traced, base)
    num_blocks = len(costs)
    first = chain.first_trained(num_blocks) - 1
    batch = traced.batch
    mask_bytes = 0 if batch.mask_BS is None else batch.mask_BS.numel() * batch.mask_BS.element_size()
    label_bytes = batch.labels.numel() * batch.labels.element_size() if trains else 0
    smashed = [batch.inputs.numel() * batch.inputs.element_size()]
    smashed += [smashed_bytes(graph, cut) for cut in range(1, num_blocks)]
    backward = {name: _backward_s(clock, costs, first) for name, clock in clocks.items()}
    kept, running = _memory(chain, first, trains=trains)
    return MicroBatchCosts(
        forward_s={name: block_seconds(clock, costs).forward.copy() for name, clock in clocks.items()},
        backward_s=backward if trains else {name: np.zeros(num_blocks) for name in clocks},
        sent_bytes=_integers([*(size + mask_bytes + label_bytes for size in smashed), 0]),
        returned_bytes=_integers([size if trains and cut > first else 0 for cut, size in enumerate([*smashed, 0])]),
        kept_bytes=_integers(kept),
        running_bytes=_integers(running),
    )


def _backward_s(clock: Clock, costs: Sequence[BlockCost], first: int) -> np.ndarray:
    """[L] seconds of backward: none below the lowest trained block, which itself needs no gradient of its input."""
    seconds = block_seconds(clock, costs)
    backward = seconds.backward.copy()
    backward[:first] = 0.0
    if first < len(costs):
        backward[first] = seconds.backward_without_input[first]
    return backward


def _memory(chain: ChainMemory, first: int, *, trains: bool) -> tuple[list[int], list[int]]:
    """Bytes that blocks keep of a micro-batch, and their largest excess while they run."""
    kept: list[int] = []
    running: list[int] = []
    for index, block in enumerate(chain.blocks):
        graph = (block.lowest if index == first else block.inner) if trains and index >= first else None
        if graph is None:
            kept.append(0)
            running.append(block.input_bytes + block.forward_bytes)
            continue
        kept.append(graph.saved_bytes + block.output_bytes)
        running.append(max(graph.graph_bytes, graph.first_backward_bytes, graph.later_backward_bytes))
    if trains:
        running[-1] += chain.loss_bytes + chain.blocks[-1].output_bytes
    return kept, running


def _integers(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)
