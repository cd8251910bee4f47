"""From a model to its blocks: record, find the cuts, cut the program there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hybridsplit.runtime.models.traced.batch_size import for_any_batch_size
from hybridsplit.runtime.models.traced.block import Boundary, TracedBlock
from hybridsplit.runtime.models.traced.cuts import Cut, ProgramGraph, valid_cuts, wire_dtype, worthwhile_cuts
from hybridsplit.runtime.models.traced.program import Kind, Program
from hybridsplit.runtime.models.traced.record import record

BATCH_SIZES = (2, 3)
"""Batch sizes that are recorded; one might broadcast."""


@dataclass(frozen=True)
class TracedCuts:
    """A recorded model and where it may be cut.

    Parameters
    ----------
    program
        Its forward pass.
    graph
        The carried steps.
    cuts
        Cuts that blocks are made of, lowest first.
    """

    program: Program
    graph: ProgramGraph
    cuts: tuple[Cut, ...]


def trace(
    model: nn.Module,
    call: Callable[[Tensor, Tensor | None], Any],
    example: Callable[[int], tuple[Tensor, Tensor | None]],
) -> TracedCuts:
    """Record a model's forward pass and find its cuts.

    Parameters
    ----------
    model
        On the meta device.
    call
        Takes the input batch and the attention mask, gives the logits.
    example
        Gives both for a batch size, on the meta device.

    Raises
    ------
    UntraceableError
        If the forward pass cannot be written down as steps.
    Exception
        An error that the model raises for shapes without values.
    """
    was_training = model.training
    recorded = []
    try:
        for size in BATCH_SIZES:
            # What some modules keep between evaluations, as tables of attention, they drop when trained again.
            model.train().eval()
            recorded.append(record(model, call, *example(size)))
    finally:
        model.train(was_training)
    program = for_any_batch_size(recorded[0], recorded[1], BATCH_SIZES)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters(remove_duplicate=False)}
    graph = ProgramGraph(program, shapes)
    cuts = worthwhile_cuts(graph, valid_cuts(graph)) if graph.is_connected else []
    return TracedCuts(program, graph, tuple(cuts))


def blocks_between(traced: TracedCuts, cuts: Sequence[Cut], model: nn.Module) -> list[TracedBlock]:
    """Return the blocks that some of the cuts make.

    Parameters
    ----------
    traced
        The recorded model.
    cuts
        Cuts, lowest first, each below the next.
    model
        The model whose modules the blocks take; on any device.
    """
    program, graph = traced.program, traced.graph
    blocks: list[TracedBlock] = []
    taken: set[str] = set()
    done: frozenset[int] = frozenset()
    below = _boundary(program, [graph.source])
    ends = [(cut.below, cut.crossing) for cut in cuts] + [(frozenset(graph.graph), (graph.sink,))]
    for carried, crossing in ends:
        above = _boundary(program, crossing)
        steps = _with_free_steps(program, carried - done, graph)
        blocks.append(TracedBlock(program, steps, below, above, model, taken))
        done, below = carried, above
    return blocks


def _boundary(program: Program, steps: Sequence[int]) -> Boundary:
    return Boundary.of(program, steps, wire_dtype(program, steps))


def _with_free_steps(program: Program, own: frozenset[int], graph: ProgramGraph) -> list[int]:
    """The block's own steps, and all that it computes anew for them, in order."""
    found = set(own)
    waiting = list(own)
    while waiting:
        fresh = [d for d in program.steps[waiting.pop()].depends_on if d not in found and d not in graph.graph]
        found.update(fresh)
        waiting += fresh
    return sorted(i for i in found if program.steps[i].kind is not Kind.INPUT)
