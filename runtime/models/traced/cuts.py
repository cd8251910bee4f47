"""Valid cuts of a recorded forward pass, and which of them are worth having.

Only *carried* values count as crossing: those that follow from the input batch or from parameters. What follows from
the attention mask, constants and buffers alone (additive masks, position ids, rotary tables) is computed anew by every
block that needs it: the mask is on both sides already, and crosses once with the labels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import torch

from hybridsplit.runtime.models.traced.program import BatchSize, Kind, Program
from hybridsplit.runtime.models.traced.separators import (
    Dag,
    DownSet,
    cheapest_cut,
    crossing,
    down_closure,
    single_vertex_cuts,
)

MAX_TENSORS = 3
"""Tensors that may cross a cut together."""
_NOMINAL_BATCH_SIZE = 8
"""Sizes of cuts are compared at this batch size; it matters only where something without a batch dimension crosses."""


@dataclass(frozen=True)
class Cut:
    """A valid cut: the carried steps below it, and those whose values cross."""

    below: DownSet
    crossing: tuple[int, ...]


class ProgramGraph:
    """The carried steps of a program as a graph.

    Parameters
    ----------
    program
        The recorded forward pass, for any batch size.
    shapes
        Shape of every parameter by name.
    """

    def __init__(self, program: Program, shapes: dict[str, tuple[int, ...]]) -> None:
        self.program = program
        self._shapes = shapes
        carried = _carried(program)
        graph: Dag = nx.DiGraph()
        graph.add_nodes_from(carried)
        graph.add_edges_from((d, i) for i in carried for d in program.steps[i].depends_on if d in carried)
        self.sink = program.output
        self.source = next(i for i, step in enumerate(program.steps) if step.kind is Kind.INPUT)
        self.graph: Dag = nx.DiGraph(graph.subgraph(down_closure(graph, [self.sink])))

    @property
    def is_connected(self) -> bool:
        """Whether the output depends on the input at all."""
        return self.source in self.graph

    def size_bytes(self, steps: Iterable[int]) -> int:
        """Bytes that cross a cut for a batch of nominal size."""
        return sum(self._numel(step) for step in steps) * wire_dtype(self.program, steps).itemsize

    def _numel(self, step: int) -> int:
        shape = self.program.steps[step].shape or ()
        return math.prod(d.at(_NOMINAL_BATCH_SIZE) if isinstance(d, BatchSize) else int(d) for d in shape)

    @cached_property
    def parameters_of(self) -> dict[int, frozenset[str]]:
        """Parameters that each carried step reads, itself or through the module it calls."""
        found: dict[int, frozenset[str]] = {}
        for i in self.graph:
            step = self.program.steps[i]
            names = {
                str(self.program.steps[d].target)
                for d in step.depends_on
                if self.program.steps[d].kind is Kind.READ and self.program.steps[d].target in self._shapes
            }
            if step.kind is Kind.MODULE:
                names |= {name for name in self._shapes if name.startswith(f"{step.target}.")}
            found[i] = frozenset(names)
        return found

    def parameters_below(self, below: Iterable[int]) -> frozenset[str]:
        """Parameters that steps read."""
        return frozenset().union(*(self.parameters_of[i] for i in below))

    def has_matrix(self, names: Iterable[str]) -> bool:
        """Whether one of the parameters is more than a vector: the weight of a product or a table."""
        return any(sum(size > 1 for size in self._shapes[name]) > 1 for name in names)

    @cached_property
    def inseparable(self) -> list[frozenset[int]]:
        """Groups of steps that no cut may part: they share a parameter or module, or write to shared memory."""
        owners: dict[str, set[int]] = defaultdict(set)
        groups: list[frozenset[int]] = []
        for i in self.graph:
            step = self.program.steps[i]
            for name in self.parameters_of[i]:
                owners[name].add(i)
            if step.kind is Kind.MODULE and any(n.startswith(f"{step.target}.") for n in self._shapes):
                owners[str(step.target)].add(i)
            if step.rewrites:
                groups.append(frozenset({i, *(r for r in step.rewrites if r in self.graph)}))
        return [group for group in [*groups, *map(frozenset, owners.values())] if len(group) > 1]

    def layer_boundaries(self) -> list[tuple[frozenset[int], frozenset[int]]]:
        """Return steps that are surely below and above each boundary of a layer: before, between and behind layers.

        A layer is a member of an outermost module list; layers are in the order they first run.
        """
        members: dict[str, set[int]] = defaultdict(set)
        for i in sorted(self.graph):
            if self.program.steps[i].items:
                members[self.program.steps[i].items[0]].add(i)
        layers = list(members.values())
        if not layers:
            return []
        inside = set().union(*layers)
        stem = {i for i in down_closure(self.graph, layers[0]) if i not in inside}
        upward = self.graph.reverse(copy=False)
        head = {i for i in down_closure(upward, layers[-1]) if i not in inside} | {self.sink}
        return [
            (frozenset(stem.union(*layers[:position])), frozenset(head.union(*layers[position:])))
            for position in range(len(layers) + 1)
        ]


def wire_dtype(program: Program, steps: Iterable[int]) -> torch.dtype:
    """Return the type in which values cross a cut: their own if it is one, else the widest floating-point one."""
    dtypes = [dtype for step in steps if (dtype := program.steps[step].dtype) is not None]
    if len(set(dtypes)) == 1:
        return dtypes[0]
    widest = torch.float32 if any(not dtype.is_floating_point for dtype in dtypes) else dtypes[0]
    for dtype in dtypes:
        if dtype.is_floating_point:
            widest = torch.promote_types(widest, dtype)
    return widest


def _carried(program: Program) -> set[int]:
    """Steps whose results follow from the input batch or from parameters."""
    carried: set[int] = set()
    for i, step in enumerate(program.steps):
        reads_parameters = any(
            program.steps[d].kind is Kind.READ and program.steps[d].target in program.parameters
            for d in step.depends_on
        )
        calls_parameters = step.kind is Kind.MODULE and any(
            name.startswith(f"{step.target}.") for name in program.parameters
        )
        if (
            step.kind is Kind.INPUT
            or reads_parameters
            or calls_parameters
            or any(d in carried for d in step.depends_on)
        ):
            carried.add(i)
    return carried


def valid_cuts(graph: ProgramGraph) -> list[Cut]:
    """Return all valid cuts, lowest first, each below the next.

    Every place where one tensor carries everything onward; and, before, between and behind layers where no such place
    is, the cheapest place where up to three do.
    """
    singles = single_vertex_cuts(graph.graph, graph.source, graph.sink)
    found = [cut for below in singles if (cut := _checked(graph, below)) is not None]
    for lower, upper in graph.layer_boundaries():
        if any(lower <= cut.below and not upper & cut.below for cut in found):
            continue
        below = cheapest_cut(graph.graph, lower, upper, lambda step: graph.size_bytes([step]))
        if below is not None and (cut := _checked(graph, below)) is not None:
            found.append(cut)
    chain: list[Cut] = []
    for cut in sorted(found, key=lambda cut: len(cut.below)):
        if not chain or chain[-1].below < cut.below:
            chain.append(cut)
    return chain


def _checked(graph: ProgramGraph, below: DownSet) -> Cut | None:
    """The cut, unless something crosses it that cannot, or it parts what belongs together."""
    steps = tuple(crossing(graph.graph, below))
    dtypes = [graph.program.steps[step].dtype for step in steps]
    if len(steps) > MAX_TENSORS or any(dtype is None or dtype.is_complex for dtype in dtypes):
        return None
    if not any(dtype is not None and dtype.is_floating_point for dtype in dtypes):
        # Below this cut nothing is trained, so no gradient has to come back.
        return None
    if any(not group <= below and not group.isdisjoint(below) for group in graph.inseparable):
        return None
    return Cut(below, steps)


def worthwhile_cuts(graph: ProgramGraph, cuts: Sequence[Cut]) -> list[Cut]:
    """Merge adjacent cuts until every block is a meaningful unit.

    1. Of the cuts with the same parameters below, the one with the fewest bytes stays, the last of equals. A cut with
       no parameters below, or none above, goes.
    2. A block that holds vectors only (norms, biases) joins a neighbour: the block after if it passes on more bytes
       than it takes; otherwise the block before, unless that ends a layer, where the cut between them stays and the
       one behind the vectors stays only if it has fewer bytes.
    """
    everything = graph.parameters_below(graph.graph)
    by_parameters: dict[frozenset[str], Cut] = {}
    for cut in cuts:
        names = graph.parameters_below(cut.below)
        if not names or names == everything:
            continue
        best = by_parameters.get(names)
        if best is None or graph.size_bytes(cut.crossing) <= graph.size_bytes(best.crossing):
            by_parameters[names] = cut
    kept: list[Cut] = []
    for cut in by_parameters.values():
        names_here = graph.parameters_below(cut.below - (kept[-1].below if kept else frozenset()))
        if not kept or graph.has_matrix(names_here):
            kept.append(cut)
            continue
        gained_bytes = graph.size_bytes(kept[-1].crossing) - graph.size_bytes(cut.crossing)
        if _ends_layer(graph, kept[-1]):
            if gained_bytes > 0:
                kept.append(cut)
        elif gained_bytes >= 0:
            kept[-1] = cut
    return kept


def _ends_layer(graph: ProgramGraph, cut: Cut) -> bool:
    """Whether the last parameters below a cut belong to a member of a module list that lies below it whole."""
    last = max((i for i in cut.below if graph.parameters_of[i]), default=None)
    items = () if last is None else graph.program.steps[last].items
    return any(all(i in cut.below for i in graph.graph if item in graph.program.steps[i].items) for item in items)
