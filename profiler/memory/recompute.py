"""The cheapest recompute order for an amount of memory, by an exact dynamic programme.

The recurrence is that of optimal checkpointing for chains of unequal blocks (Beaumont et al., arXiv 1911.13214): the
part ``s..t`` of the chain, with the input of ``s`` in memory and ``m`` bytes to use, either runs up to some block
without a graph, keeps its input, treats what is above with what memory is left and then what is below; or it keeps the
graph of ``s`` and treats what is above. Blocks are as :class:`~hybridsplit.profiler.memory.blocks.BlockMemory` measures
them, so that the memory of an order is exact; its cost is the forward work it does.

Two things make it fast, and are ours: each part is solved once for all amounts of memory, as a step function, where one
amount at a time meets most amounts once; and parts of alike blocks, of which a deep model has many, are one part.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from hybridsplit.profiler.memory.blocks import ChainMemory
from hybridsplit.profiler.memory.step_functions import Alternative, LeastWork, least_of, one_then_other
from hybridsplit.scenarios.contracts.recompute import Action, RecomputeOrder, RecomputeStep

_KEEP_GRAPH = 0
"""Rank of keeping the graph of the lowest block; keeping an input ``n`` blocks further up has rank ``n``."""

_MOST_POINTS = 20_000_000
_POINTS_OF_A_WAY = 100
"""Points of step functions that are weighed for one chain, some seconds of work: about 50 unequal blocks, or 130 alike
ones. What a way takes beside its points counts as a number of them."""


class Kept(NamedTuple):
    """What is kept of a block at the exchange: its graph, or its input."""

    block: int
    is_graph: bool


class TooManyPointsError(Exception):
    """The chain is so deep that the exact programme would take too long."""


class RecomputePlanner:
    """Finds recompute orders for any cut of one chain; parts of the chain are shared between cuts.

    Parameters
    ----------
    chain
        Memory of all blocks.
    forward_cost
        Work of one forward of each block, in any unit.
    """

    def __init__(self, chain: ChainMemory, forward_cost: Sequence[float]) -> None:
        self._chain = chain
        self._forward_cost = forward_cost
        self._problems: dict[int, _Problem] = {}

    def cheapest(self, cut: int, available_bytes: int) -> RecomputeOrder | None:
        """Return the cheapest order that fits, None if none does.

        Parameters
        ----------
        cut
            Blocks of the client part.
        available_bytes
            For activations, graphs, gradients and temporaries: what parameters, optimizer state and batch leave.

        Raises
        ------
        ValueError
            If nothing below the cut is trained.
        TooManyPointsError
            If the chain is too deep for the exact programme; how deep does not depend on the machine.
        """
        first = self._chain.first_trained(cut)
        if first > cut:
            raise ValueError("a part without trainable parameters recomputes nothing")
        problem = self._problem(first)
        if any(problem.forward_need(1, i) > available_bytes for i in range(1, first)):
            return None
        left_bytes = available_bytes - problem.activation[first]
        if math.isinf(problem.solved(cut).at(left_bytes)):
            return None
        frozen = (RecomputeStep(Action.ADVANCE, i) for i in range(1, first))
        return (*frozen, *problem.steps(first, cut, left_bytes, is_up=True))

    def _problem(self, first: int) -> _Problem:
        if first not in self._problems:
            self._problems[first] = _Problem(self._chain, self._forward_cost, first)
        return self._problems[first]

    def continuation(self, kept: Sequence[Kept], cut: int, available_bytes: int) -> RecomputeOrder | None:
        """Return the cheapest order that goes on from what is kept when λ has come; None if none fits.

        Parameters
        ----------
        kept
            Lowest block first, which is the first trained one.
        cut, available_bytes
            As of :meth:`cheapest`.

        Raises
        ------
        TooManyPointsError
            As there.
        """
        problem = self._problem(kept[0].block)
        left_bytes: list[int] = []
        below: Kept | None = None
        for one in kept:
            # The output of a graph right below is this block's input, and is held by it.
            if below is None or not (below.is_graph and below.block == one.block - 1):
                available_bytes -= problem.activation[one.block]
            left_bytes.append(available_bytes)
            available_bytes -= problem.held_bytes(one.block) if one.is_graph else 0
            below = one
        steps: list[RecomputeStep] = []
        top = cut
        for one, left in zip(reversed(kept), reversed(left_bytes), strict=True):
            if one.is_graph:
                steps.append(RecomputeStep(Action.BACKWARD, one.block))
            elif math.isinf(problem.solved_down(one.block, top).at(left)):
                return None
            else:
                steps += problem.steps(one.block, top, left, is_up=False)
            top = one.block - 1
        return tuple(steps)


class _Problem:
    """The recurrence; blocks count from 1, and index 0 of every list is unused.

    ``activation[i]`` is the input of block ``i`` (the batch stands, so that of block 1 is nothing), ``held[i]`` what
    its graph and output hold, ``up[i]`` and ``down[i]`` what running it with a graph and backward through that take.
    """

    def __init__(self, chain: ChainMemory, forward_cost: Sequence[float], first: int) -> None:
        blocks = chain.blocks
        self._first = first
        self.activation = [0, 0, *(block.output_bytes for block in blocks)]
        self._forward_cost = [0.0, *forward_cost]
        self._forward = [0, *(block.forward_bytes for block in blocks)]
        self._loss_bytes = [0] * len(blocks) + [chain.loss_bytes]
        graphs = [None, *(block.lowest if i == first else block.inner for i, block in enumerate(blocks, 1))]
        outputs = self.activation[1:]
        self._up = [graph.graph_bytes if graph else 0 for graph in graphs]
        self._held = [graph.saved_bytes + output if graph else 0 for graph, output in zip(graphs, outputs, strict=True)]
        self._down = [
            held + output + max(graph.first_backward_bytes, graph.later_backward_bytes) if graph else 0
            for graph, held, output in zip(graphs, self._held, outputs, strict=True)
        ]
        self._parts = _Parts([self._figures(i) for i in range(1, len(blocks) + 1)])
        self._solved: dict[tuple[int, bool], LeastWork] = {}
        self._num_points = 0

    def _figures(self, i: int) -> Hashable:
        """All that the recurrence reads of a block; blocks with the same are alike."""
        memory = (self.activation[i], self.activation[i + 1], self._forward[i], self._up[i], self._held[i])
        return (*memory, self._down[i], self._loss_bytes[i], self._forward_cost[i])

    def solved(self, cut: int) -> LeastWork:
        """Least forward work from the first trained block up to a cut, for every amount of memory.

        A part needs what begins higher and what ends lower: both are there when ends rise and beginnings fall.
        """
        self._solve_down(self._first, cut - 1)
        for start in range(cut, self._first - 1, -1):
            self._solve(start, cut, is_up=True)
        return self._least(self._first, cut, is_up=True)

    def solved_down(self, start: int, end: int) -> LeastWork:
        """Least forward work from a kept input up to a block whose λ is there, for every amount of memory."""
        self._solve_down(start, end)
        return self._least(start, end, is_up=False)

    def _solve_down(self, first: int, last: int) -> None:
        for end in range(first, last + 1):
            for start in range(end, first - 1, -1):
                self._solve(start, end, is_up=False)

    def steps(self, start: int, end: int, available_bytes: int, *, is_up: bool) -> Iterator[RecomputeStep]:
        """Write out the order that was found for a part and an amount of memory."""
        ahead: list[RecomputeStep | tuple[int, int, int, bool]] = [(start, end, available_bytes, is_up)]
        while ahead:
            match ahead.pop():
                case RecomputeStep() as step:
                    yield step
                case s, t, m, is_up:
                    ahead += reversed(self._spelled(s, t, m, is_up))

    def _spelled(self, s: int, t: int, m: int, is_up: bool) -> list[RecomputeStep | tuple[int, int, int, bool]]:
        """One choice as steps and the parts that remain."""
        rank = self._least(s, t, is_up=is_up).choice_at(m)
        graph, backward = RecomputeStep(Action.GRAPH, s), RecomputeStep(Action.BACKWARD, s)
        if rank == _KEEP_GRAPH:
            return [graph, (s + 1, t, m - self._held[s], is_up), backward] if s < t else [graph, backward]
        keep, above = RecomputeStep(Action.KEEP, s), s + rank
        if above > t:
            return [keep, graph, backward]
        advance = [RecomputeStep(Action.ADVANCE, i) for i in range(s + 1, above)]
        return [keep, *advance, (above, t, m - self.activation[above], is_up), (s, above - 1, m, False)]

    def forward_need(self, start: int, index: int) -> int:
        """Bytes beyond the input of ``start`` while block ``index`` runs without a graph."""
        return self._forward[index] + (self.activation[index] if index > start else 0)

    def held_bytes(self, block: int) -> int:
        """Bytes that a block's graph and output hold."""
        return self._held[block]

    def _least(self, s: int, t: int, *, is_up: bool) -> LeastWork:
        """Return what is solved already; ``is_up`` on the way up, before λ exists."""
        return self._solved[self._parts.name(s, t), is_up]

    def _solve(self, s: int, t: int, *, is_up: bool) -> None:
        key = self._parts.name(s, t), is_up
        if key in self._solved:
            return
        ways = [way for way in self._ways(s, t, is_up) if way is not None]
        self._num_points += sum(len(way.work) + _POINTS_OF_A_WAY for way in ways)
        if self._num_points > _MOST_POINTS:
            raise TooManyPointsError
        self._solved[key] = least_of(ways)

    def _ways(self, s: int, t: int, is_up: bool) -> Iterator[Alternative | None]:
        yield self._with_graph(s, t, is_up)
        if s == t:
            if is_up:
                yield self._last_again(s)
            return
        waiting_bytes = 0 if is_up else self.activation[t + 1]
        work, need_bytes = 0.0, 0
        for above in range(s + 1, t + 1):
            need_bytes = max(need_bytes, self.forward_need(s, above - 1) + waiting_bytes)
            work += self._forward_cost[above - 1]
            upper, lower = self._least(above, t, is_up=is_up), self._least(s, above - 1, is_up=False)
            kept_bytes = self.activation[above]
            yield one_then_other(work, upper, kept_bytes, lower, max(need_bytes, kept_bytes + 1), above - s)

    def _with_graph(self, s: int, t: int, is_up: bool) -> Alternative | None:
        """Run ``s`` with its graph and keep that until its backward."""
        waiting_bytes = 0 if is_up else self.activation[t + 1]
        need_bytes = max(self._up[s] + waiting_bytes, self._down[s])
        if s < t:
            above = self._least(s + 1, t, is_up=is_up)
            return above.after(self._forward_cost[s], self._held[s], need_bytes, _KEEP_GRAPH)
        if is_up:
            need_bytes = max(need_bytes, self._held[s] + self._exchange_need(s))
        return Alternative.single(need_bytes, self._forward_cost[s], _KEEP_GRAPH)

    def _last_again(self, s: int) -> Alternative:
        """On the way up run the last block without a graph, wait for λ, and run it again with one."""
        output_bytes = self.activation[s + 1]
        need = max(self._forward[s], output_bytes + self._exchange_need(s), self._up[s] + output_bytes, self._down[s])
        return Alternative.single(need, 2 * self._forward_cost[s], 1)

    def _exchange_need(self, last: int) -> int:
        """Bytes beside the smashed data while the other side works, or while the device computes its loss."""
        return max(self._loss_bytes[last], self.activation[last + 1])


class _Parts:
    """Names of the parts ``s..t`` of a chain: parts of alike blocks have the same."""

    def __init__(self, figures: Sequence[Hashable]) -> None:
        kinds: dict[Hashable, int] = {}
        self._kind = [kinds.setdefault(figure, len(kinds)) for figure in figures]
        self._longer: dict[tuple[int, int], int] = {}
        self._from: dict[int, list[int]] = {}

    def name(self, s: int, t: int) -> int:
        """Return the name of the part from block ``s`` to block ``t``, counted from 1."""
        if s not in self._from:
            names, name = [], -1
            for kind in self._kind[s - 1 :]:
                name = self._longer.setdefault((name, kind), len(self._longer))
                names.append(name)
            self._from[s] = names
        return self._from[s][t - s]
