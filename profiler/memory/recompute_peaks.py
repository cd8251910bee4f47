"""Peak memory of a recompute order, composed from its blocks without running it.

An order that drops something at the exchange has two peaks: up to the drop, and from then on. The walk follows
:class:`~hybridsplit.runtime.estimators.fo_recompute.FirstOrderRecompute` step by step; ``tests/profiler`` proves the
composition equal to full traces.
"""

from __future__ import annotations

from collections import Counter
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
    return max(max(before, after) for before, after in _peaks(chain, cut, order, num_steps))


def peak_after_drop_bytes(chain: ChainMemory, cut: int, order: RecomputeOrder, num_steps: int) -> int:
    """Return the peak of a step from the first drop of its order on; the whole step's where it drops nothing.

    Parameters
    ----------
    chain, cut, order, num_steps
        As of :func:`recompute_peak_bytes`.

    Raises
    ------
    ValueError
        If nothing below the cut is trained.
    """
    return max(after for _, after in _peaks(chain, cut, order, num_steps))


def _peaks(chain: ChainMemory, cut: int, order: RecomputeOrder, num_steps: int) -> list[tuple[int, int]]:
    """Return the peaks before and from the first drop on, of a first step and of later ones."""
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
    return peaks


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
    _holders: Counter[int] = field(default_factory=Counter)
    """How many kept inputs and graphs hold each activation."""
    _held_bytes: int = 0
    """What kept inputs and graphs hold together: sums over them at each step would be quadratic in deep chains."""

    def run(self, order: RecomputeOrder) -> tuple[int, int]:
        last = len(self.blocks)
        x, reached = 1, 0
        gradient_bytes, before_bytes = 0, 0
        is_sent = False
        for action, index in ((step.action, step.block) for step in order):
            block = self.blocks[index - 1]
            if action is Action.DROP:
                before_bytes, self.peak_bytes = max(before_bytes, self.peak_bytes), 0
                self._drop(index)
                continue
            if reached == last and not is_sent:
                gradient_bytes, is_sent = self._exchange(), True
                x = 1
            if action is Action.BACKWARD:
                self._release_input(index)
                graph = self._graph(index)
                excess_bytes = graph.first_backward_bytes if self.is_first else graph.later_backward_bytes
                self._reach(x, gradient_bytes, excess_bytes)
                self._hold(-1, index, index + 1)
                self._graphs.discard(index)
                self._held_bytes -= graph.saved_bytes
                gradient_bytes = 0 if index == self.first_trained else block.input_bytes
                self.standing_bytes += graph.state_bytes if self.is_first else 0
                x = 1
                continue
            x = index
            if action is Action.KEEP:
                self._keep_input(index)
            if action is Action.GRAPH:
                self._reach(x, gradient_bytes, self._graph(index).graph_bytes)
                self._hold(1, index, index + 1)
                self._graphs.add(index)
                self._held_bytes += self._graph(index).saved_bytes
            else:
                self._reach(x, gradient_bytes, block.forward_bytes)
            x = index + 1
            reached = max(reached, index)
            if is_sent and index == last:
                x = 1
        return before_bytes, self.peak_bytes

    def _exchange(self) -> int:
        """Send the smashed data and receive λ; return the bytes of it."""
        last = len(self.blocks)
        gradient_bytes = self.blocks[last - 1].output_bytes
        self._reach(last + 1, 0, max(self.loss_bytes, gradient_bytes))
        return gradient_bytes

    def _drop(self, index: int) -> None:
        """Free a graph, whose input stays kept, or a kept input."""
        if index in self._graphs:
            self._hold(-1, index, index + 1)
            self._held_bytes -= self._graph(index).saved_bytes
            self._graphs.discard(index)
            self._keep_input(index)
        else:
            self._release_input(index)

    def _reach(self, x: int, gradient_bytes: int, excess_bytes: int) -> None:
        """Account for one step's largest excess over what is live."""
        here_bytes = 0 if self._holders[x] else self._activation_bytes(x)
        live_bytes = self.standing_bytes + self._held_bytes + here_bytes + gradient_bytes
        self.peak_bytes = max(self.peak_bytes, live_bytes + excess_bytes)

    def _keep_input(self, index: int) -> None:
        if index not in self._kept:
            self._kept.add(index)
            self._hold(1, index)

    def _release_input(self, index: int) -> None:
        if index in self._kept:
            self._kept.discard(index)
            self._hold(-1, index)

    def _hold(self, change: int, *activations: int) -> None:
        """Count holders of activations up or down; one without holders is freed."""
        for i in activations:
            before = self._holders[i]
            self._holders[i] = before + change
            if 0 in (before, before + change):
                self._held_bytes += change * self._activation_bytes(i)

    def _graph(self, index: int) -> GraphMemory:
        graph = self.graphs[index - 1]
        assert graph is not None
        return graph

    def _activation_bytes(self, index: int) -> int:
        """Bytes of the input of a block; that of the first is part of the batch."""
        return 0 if index == 1 else self.blocks[index - 2].output_bytes
