"""Ways to finish a step in less memory than it was begun with, from what the client keeps at the exchange.

While the smashed data is on its way a client waits longest. If its memory shrinks then, it frees kept graphs, then kept
inputs, from the top, and finishes by the cheapest order that starts from what is left. The peak of such an order is
walked exactly as that of any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hybridsplit.profiler.memory.blocks import ChainMemory
from hybridsplit.profiler.memory.levels import RecomputeLevel
from hybridsplit.profiler.memory.recompute import Kept, RecomputePlanner, TooManyPointsError
from hybridsplit.profiler.memory.recompute_peaks import peak_after_drop_bytes
from hybridsplit.profiler.profiles import FallOrder
from hybridsplit.scenarios.contracts.recompute import (
    Action,
    RecomputeOrder,
    RecomputeStep,
    format_order,
    num_forwards,
    parse_order,
)


def falls_of(
    chain: ChainMemory,
    planner: RecomputePlanner,
    forward_cost: Sequence[float],
    cut: int,
    level: RecomputeLevel,
    amounts: Sequence[int],
    num_steps: int,
) -> tuple[FallOrder, ...]:
    """Return ways down from a level, least work first; none is worse than another in both memory and work.

    Parameters
    ----------
    chain, planner
        Memory of all blocks, and the planner for them.
    forward_cost
        Work of one forward of each block.
    cut
        Blocks of the client part; there is a server part, whose answer the client waits for.
    level
        What the step is begun with.
    amounts
        Amounts of memory to look for a way in, bytes: the peaks of the levels below.
    num_steps
        Local steps of a round.
    """
    up = _up(parse_order(level.recompute), cut)
    waiting_bytes = chain.blocks[cut - 1].output_bytes
    wanted = sorted({more + amount for amount in amounts for more in (0, waiting_bytes)})
    standing_bytes = chain.standing_bytes(cut)
    orders: dict[str, RecomputeOrder] = {}
    for drops, kept in _drops(up):
        for tail in _tails(planner, kept, cut, [amount - standing_bytes for amount in wanted]):
            order = (*up, *drops, *tail)
            orders[format_order(order)] = order
    found: list[tuple[float, FallOrder]] = []
    for text, order in orders.items():
        counts = num_forwards(order)
        forwards = tuple(counts.get(i, 0) for i in range(1, cut + 1))
        work = sum(count * cost for count, cost in zip(forwards, forward_cost, strict=False))
        peak_bytes = peak_after_drop_bytes(chain, cut, order, num_steps)
        if peak_bytes < level.peak_bytes:
            found.append((work, FallOrder(text, forwards, peak_bytes)))
    falls: list[FallOrder] = []
    for _, fall in sorted(found, key=lambda one: (one[0], one[1].peak_bytes)):
        if not falls or fall.peak_bytes < falls[-1].peak_bytes:
            falls.append(fall)
    return tuple(falls)


def _up(order: RecomputeOrder, cut: int) -> RecomputeOrder:
    """Return an order up to the exchange: until the last block has run."""
    is_up = (Action.KEEP, Action.ADVANCE, Action.GRAPH)
    end = next(i for i, step in enumerate(order, 1) if step.block == cut and step.action in is_up)
    return order[:end]


def _drops(up: RecomputeOrder) -> Iterator[tuple[list[RecomputeStep], list[Kept]]]:
    """Yield what may be dropped at the exchange, and what is kept then: graphs go from the top, then inputs."""
    kept = [Kept(step.block, step.action is Action.GRAPH) for step in up if step.action is not Action.ADVANCE]
    drops: list[RecomputeStep] = []
    for place in reversed(range(len(kept))):
        if kept[place].is_graph:
            kept[place] = Kept(kept[place].block, False)
            drops.append(RecomputeStep(Action.DROP, kept[place].block))
            yield list(drops), list(kept)
    while len(kept) > 1:
        drops.append(RecomputeStep(Action.DROP, kept.pop().block))
        yield list(drops), list(kept)


def _tails(
    planner: RecomputePlanner, kept: Sequence[Kept], cut: int, available_bytes: Sequence[int]
) -> Iterator[RecomputeOrder]:
    """Yield the orders that finish a step from what is kept, the cheapest for each amount of memory."""
    try:
        orders = [planner.continuation(kept, cut, amount) for amount in available_bytes]
    except TooManyPointsError:
        orders = []
    yield from (order for order in orders if order is not None)
    yield _again_for_each(kept, cut)


def _again_for_each(kept: Sequence[Kept], cut: int) -> RecomputeOrder:
    """Run from the kept input below it again for every block: in the least memory."""
    steps: list[RecomputeStep] = []
    top = cut
    for one in reversed(kept):
        for block in range(top, one.block - 1, -1):
            if not one.is_graph:
                steps += [RecomputeStep(Action.ADVANCE, below) for below in range(one.block, block)]
                steps.append(RecomputeStep(Action.GRAPH, block))
            steps.append(RecomputeStep(Action.BACKWARD, block))
        top = one.block - 1
    return tuple(steps)
