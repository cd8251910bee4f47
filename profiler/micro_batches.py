"""Options whose batches are trained in parts: which exist, what their parts cost, and what they are refused for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from hybridsplit.profiler.compute import block_costs
from hybridsplit.profiler.costs import BlockCost
from hybridsplit.profiler.models import TracedModel, with_batch_size
from hybridsplit.profiler.profiles import Choice
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario, Training

Peaks = Callable[[Sequence[int], str, int], Mapping[int, int]]
"""Peaks by cut, of cuts with a recompute order and a number of micro-batches."""


def check_statistics(traced: TracedModel, key: str, numbers: Sequence[int]) -> None:
    """Refuse micro-batches where a layer takes statistics over its batch: over a part of it they are others.

    Parameters
    ----------
    traced
        The model as shapes.
    key, numbers
        The key of the scenario that lists numbers of micro-batches, and what it lists.

    Raises
    ------
    ScenarioError
        If it lists more than one and the model has BatchNorm.
    """
    several = [number for number in numbers if number > 1]
    for position, block in enumerate(traced.model.whole.ordered() if several else (), start=1):
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in block.modules()):
            raise ScenarioError(
                f"{key}: found {several[0]}, and block {position} ({block.kind}) has BatchNorm, whose "
                "statistics over a micro-batch are not those of the batch: use micro_batches: [1], or another model"
            )


def costs_of_parts(traced: TracedModel, scenario: Scenario, batch_size: int) -> dict[int, tuple[BlockCost, ...]]:
    """Return by number of micro-batches what each block takes for one of them; nothing where none are on offer.

    Parameters
    ----------
    traced, scenario, batch_size
        The model as shapes, its scenario, and the samples of a whole batch.

    Raises
    ------
    ProfileError
        If a matmul-class operator has no cost formula.
    """
    training = scenario.training
    wanted = {m for mode in training.modes for m in training.overlap.micro_batches_of_mode(mode) if m > 1}
    return {m: tuple(block_costs(with_batch_size(traced, scenario, batch_size // m), scenario)) for m in sorted(wanted)}


def in_micro_batches(
    peaks: Mapping[Choice, int], mode: str, training: Training, trains: Sequence[bool], trace: Peaks
) -> dict[Choice, int]:
    """Offer the choices of a mode with every number of micro-batches that the scenario lists.

    That is where a server part answers, the client has something to train, and every gradient is waited for.

    Parameters
    ----------
    peaks
        Client peaks of the choices so far, of all modes.
    mode, training
        The mode, and what the scenario lists.
    trains
        [L + 1] whether anything is trained in blocks ``1..c``, for every cut c from 0.
    trace
        Traces client peaks of this mode.
    """
    offered, num_blocks = training.overlap.micro_batches_of_mode(mode), len(trains) - 1
    able = [
        choice
        for choice in peaks
        if choice.mode == mode
        and choice.cut < num_blocks
        and trains[choice.cut]
        and choice.staleness == choice.head_blocks == 0
    ]
    found = {choice: size for choice, size in peaks.items() if choice not in able or 1 in offered}
    orders: dict[str, list[int]] = {}
    for choice in able:
        orders.setdefault(choice.recompute, []).append(choice.cut)
    for micro_batches in (number for number in offered if number > 1):
        for recompute, cuts in orders.items():
            for cut, size in trace(cuts, recompute, micro_batches).items():
                found[Choice(cut, mode, recompute, micro_batches=micro_batches)] = size
    return found
