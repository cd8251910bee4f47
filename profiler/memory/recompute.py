"""The cheapest recompute order for an amount of memory, by an exact dynamic programme.

The recurrence is that of optimal checkpointing for chains of unequal blocks (Beaumont et al., arXiv 1911.13214): the
part ``s..t`` of the chain, with the input of ``s`` in memory and ``m`` bytes to use, either runs up to some block
without a graph, keeps its input, treats what is above with what memory is left and then what is below; or it keeps the
graph of ``s`` and treats what is above. Blocks are as :class:`~hybridsplit.profiler.memory.blocks.BlockMemory` measures
them, so that the memory of an order is exact; its cost is the forward work it does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from hybridsplit.profiler.memory.blocks import ChainMemory
from hybridsplit.scenarios.contracts.recompute import Action, RecomputeOrder, RecomputeStep

_NO_WAY = (math.inf, 0)
_KEEP_GRAPH = -1


_MOST_PROBLEMS = 1_000_000
"""Sub-problems that are solved for one chain, some seconds of work: about 26 unequal blocks, or 30 equal ones."""


class Kept(NamedTuple):
    """What is kept of a block at the exchange: its graph, or its input."""

    block: int
    is_graph: bool


class TooManyProblemsError(Exception):
    """The chain is so deep that the exact programme would take too long."""


class RecomputePlanner:
    """Finds recompute orders for any cut of one chain; sub-problems are shared between cuts and amounts of memory.

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
        TooManyProblemsError
            If more than 1,000,000 sub-problems were solved for the chain; the number does not depend on the machine.
        """
        first = self._chain.first_trained(cut)
        if first > cut:
            raise ValueError("a part without trainable parameters recomputes nothing")
        problem = self._problem(first)
        if any(problem.forward_need(1, i) > available_bytes for i in range(1, first)):
            return None
        left_bytes = available_bytes - problem.activation[first]
        if math.isinf(problem.cost(first, cut, left_bytes, is_up=True)):
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
        TooManyProblemsError
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
            elif math.isinf(problem.cost(one.block, top, left, is_up=False)):
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
        self._held_below = list(itertools.accumulate(self._held))
        self._worst = max(up + down for up, down in zip(self._up, self._down, strict=True)) + chain.loss_bytes
        self._solved: dict[tuple[int, int, int, bool], tuple[float, int]] = {}

    def cost(self, s: int, t: int, m: int, *, is_up: bool) -> float:
        """Least forward work for blocks ``s..t`` within ``m`` bytes; ``is_up`` on the way up, before λ exists."""
        return self._best(s, t, m, is_up)[0]

    def steps(self, s: int, t: int, m: int, *, is_up: bool) -> list[RecomputeStep]:
        """Write out the order that :meth:`cost` found."""
        choice = self._best(s, t, m, is_up)[1]
        graph, backward = RecomputeStep(Action.GRAPH, s), RecomputeStep(Action.BACKWARD, s)
        if choice == _KEEP_GRAPH:
            above = self.steps(s + 1, t, m - self._held[s], is_up=is_up) if s < t else []
            return [graph, *above, backward]
        keep = RecomputeStep(Action.KEEP, s)
        if choice > t:
            return [keep, graph, backward]
        advance = [RecomputeStep(Action.ADVANCE, i) for i in range(s + 1, choice)]
        above = self.steps(choice, t, m - self.activation[choice], is_up=is_up)
        return [keep, *advance, *above, *self.steps(s, choice - 1, m, is_up=False)]

    def forward_need(self, start: int, index: int) -> int:
        """Bytes beyond the input of ``start`` while block ``index`` runs without a graph."""
        return self._forward[index] + (self.activation[index] if index > start else 0)

    def held_bytes(self, block: int) -> int:
        """Bytes that a block's graph and output hold."""
        return self._held[block]

    def _best(self, s: int, t: int, m: int, is_up: bool) -> tuple[float, int]:
        # Memory beyond what all graphs take changes nothing, so such amounts share one entry.
        m = min(m, self._held_below[t] - self._held_below[s - 1] + self._worst + self.activation[t + 1])
        key = (s, t, m, is_up)
        found = self._solved.get(key)
        if found is None:
            if len(self._solved) >= _MOST_PROBLEMS:
                raise TooManyProblemsError
            found = self._solved[key] = self._solve(s, t, m, is_up)
        return found

    def _solve(self, s: int, t: int, m: int, is_up: bool) -> tuple[float, int]:
        best = self._with_graph(s, t, m, is_up)
        if s == t:
            return min(best, self._last_again(s, m)) if is_up else best
        waiting_bytes = 0 if is_up else self.activation[t + 1]
        work = 0.0
        for above in range(s + 1, t + 1):
            left = m - self.activation[above]
            if self.forward_need(s, above - 1) + waiting_bytes > m:
                break
            work += self._forward_cost[above - 1]
            if left <= 0 or work >= best[0]:
                continue
            cost = work + self._best(above, t, left, is_up)[0]
            if cost < best[0]:
                cost += self._best(s, above - 1, m, False)[0]
                if cost < best[0]:
                    best = cost, above
        return best

    def _with_graph(self, s: int, t: int, m: int, is_up: bool) -> tuple[float, int]:
        """Run ``s`` with its graph and keep that until its backward."""
        waiting_bytes = 0 if is_up else self.activation[t + 1]
        if self._up[s] + waiting_bytes > m or self._down[s] > m:
            return _NO_WAY
        if s < t:
            return self._forward_cost[s] + self._best(s + 1, t, m - self._held[s], is_up)[0], _KEEP_GRAPH
        if is_up and self._held[s] + self._exchange_need(s) > m:
            return _NO_WAY
        return self._forward_cost[s], _KEEP_GRAPH

    def _last_again(self, s: int, m: int) -> tuple[float, int]:
        """On the way up run the last block without a graph, wait for λ, and run it again with one."""
        output_bytes = self.activation[s + 1]
        need = max(self._forward[s], output_bytes + self._exchange_need(s), self._up[s] + output_bytes, self._down[s])
        return (2 * self._forward_cost[s], s + 1) if need <= m else _NO_WAY

    def _exchange_need(self, last: int) -> int:
        """Bytes beside the smashed data while the other side works, or while the device computes its loss."""
        return max(self._loss_bytes[last], self.activation[last + 1])
