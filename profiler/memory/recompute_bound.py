"""Work that no recompute order can do without: a bound for chains on which the exact programme takes too long."""

from __future__ import annotations

from collections.abc import Sequence

from hybridsplit.profiler.memory.blocks import ChainMemory


def least_work_bound(chain: ChainMemory, forward_cost: Sequence[float], cut: int, available_bytes: int) -> float:
    """Return a lower bound on the forward work of any order within an amount of memory.

    Every block runs once before the gradient at the cut exists. A trained block whose graph is not there by then runs
    a second time, and the graphs that are there have to fit together. Which to have is a knapsack problem; it is
    relaxed to fractions of graphs, those that save most work a byte first (Dantzig, Operations Research 5(2), 1957).

    Parameters
    ----------
    chain
        Memory of all blocks.
    forward_cost
        Work of one forward of each block.
    cut
        A cut with something to train below it.
    available_bytes
        For activations, graphs, gradients and temporaries.
    """
    first = chain.first_trained(cut)
    trained: list[tuple[float, int]] = []
    for i, block in enumerate(chain.blocks[first - 1 : cut], first):
        graph = block.lowest if i == first else block.inner
        held_bytes = block.output_bytes + (graph.saved_bytes if graph is not None else 0)
        trained.append((forward_cost[i - 1], held_bytes))
    again = sum(cost for cost, _ in trained)
    left_bytes = max(0, available_bytes)
    for cost, held_bytes in sorted(trained, key=lambda one: one[1] / one[0] if one[0] else 0.0):
        share = 1.0 if held_bytes <= left_bytes else left_bytes / held_bytes
        again -= share * cost
        left_bytes = max(0, left_bytes - held_bytes)
    return sum(forward_cost[:cut]) + max(0.0, again)
