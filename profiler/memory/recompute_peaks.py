"""Peak memory of a recompute order, composed from its blocks without running it.

Follows :class:`~hybridsplit.runtime.estimators.fo_recompute.FirstOrderRecompute` step by step; ``tests/profiler``
proves the composition equal to full traces.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hybridsplit.profiler.memory.blocks import BlockMemory, ChainMemory, GraphMemory
from hybridsplit.scenarios.contracts.recompute import Action, RecomputeOrder


def recompute_peak_bytes(chain: ChainMemory, cut: int, order: RecomputeOrder, num_steps: int) -> int:
    """Return the peak of live tensor bytes of a client part under ``fo-recompute``.

    Parameters
    ----------
    chain
        Memory of all blocks.
    cut
        Blocks of the client part.
    order
        What is kept and what is recomputed.
    num_steps
        Local steps of a round: with one, optimizer state is born during the only backward.

    Raises
    ------
    ValueError
        If nothing below the cut is trained.
    """
    blocks = chain.blocks[:cut]
    first_trained = chain.first_trained(cut)
    if first_trained > cut:
        raise ValueError("a part without trainable parameters recomputes nothing")
    graphs = [block.lowest if i == first_trained else block.inner for i, block in enumerate(blocks, 1)]
    standing_bytes = chain.batch_bytes + sum(block.standing_bytes for block in blocks)
    loss_bytes = chain.loss_bytes if cut == len(chain.blocks) else 0
    peaks = []
    for is_first in (True, False)[: min(num_steps, 2)]:
        state_bytes = 0 if is_first else sum(graph.state_bytes for graph in graphs[first_trained - 1 :] if graph)
        walk = _Walk(blocks, graphs, first_trained, loss_bytes, standing_bytes + state_bytes, is_first=is_first)
        peaks.append(walk.run(order))
    return max(peaks)


@dataclass
class _Walk:
    """Live bytes along a recompute order; activation ``i`` is the input of block ``i``."""

    blocks: tuple[BlockMemory, ...]
    graphs: list[GraphMemory | None]
    first_trained: int
    loss_bytes: int
    standing_bytes: int
    is_first: bool
    peak_bytes: int = 0
    _kept: set[int] = field(default_factory=set)
    _graphs: set[int] = field(default_factory=set)

    def run(self, order: RecomputeOrder) -> int:
        last = len(self.blocks)
        x, reached = 1, 0
        gradient_bytes = 0
        for action, index in ((step.action, step.block) for step in order):
            block = self.blocks[index - 1]
            if action is Action.BACKWARD:
                self._kept.discard(index)
                graph = self._graph(index)
                excess_bytes = graph.first_backward_bytes if self.is_first else graph.later_backward_bytes
                self._reach(x, gradient_bytes, excess_bytes)
                self._graphs.discard(index)
                gradient_bytes = 0 if index == self.first_trained else block.input_bytes
                self.standing_bytes += graph.state_bytes if self.is_first else 0
                x = 1
                continue
            x = index
            if action is Action.KEEP:
                self._kept.add(index)
            if action is Action.GRAPH:
                self._reach(x, gradient_bytes, self._graph(index).graph_bytes)
                self._graphs.add(index)
            else:
                self._reach(x, gradient_bytes, block.forward_bytes)
            x = index + 1
            if index == last and reached < last:
                gradient_bytes = block.output_bytes
                self._reach(x, 0, max(self.loss_bytes, gradient_bytes))
            reached = max(reached, index)
            if index == last:
                x = 1
        return self.peak_bytes

    def _reach(self, x: int, gradient_bytes: int, excess_bytes: int) -> None:
        """Account for one step's largest excess over what is live."""
        alive = self._kept | {x} | {i for graph in self._graphs for i in (graph, graph + 1)}
        activation_bytes = sum(self._activation_bytes(i) for i in alive)
        saved_bytes = sum(self._graph(i).saved_bytes for i in self._graphs)
        live_bytes = self.standing_bytes + activation_bytes + saved_bytes + gradient_bytes
        self.peak_bytes = max(self.peak_bytes, live_bytes + excess_bytes)

    def _graph(self, index: int) -> GraphMemory:
        graph = self.graphs[index - 1]
        assert graph is not None
        return graph

    def _activation_bytes(self, index: int) -> int:
        """Bytes of the input of a block; that of the first is part of the batch."""
        return 0 if index == 1 else self.blocks[index - 2].output_bytes
