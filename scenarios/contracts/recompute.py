"""In which order ``fo-recompute`` runs its blocks: what is kept on the way up, what is computed again on the way down.

A recompute order is a list of steps, written as text such as ``k1 a2 k3 g4 b4 g3 b3 a1 g2 b2 g1 b1`` (blocks count from
1; a block whose input was not just computed starts from its kept input). The empty text stands for one kept input per
block, :data:`LADDER` for an order that is chosen anew in every step (:mod:`hybridsplit.scenarios.contracts.ladder`).
Such orders reverse a chain with any amount of memory (Griewank and Walther, ACM TOMS 26(1), 2000; for
blocks of unequal cost Beaumont et al., arXiv 1911.13214).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hybridsplit.scenarios.errors import ContractError


class Action(StrEnum):
    """What a step does with its block."""

    KEEP = "k"
    """Keep the block's input and run it without a graph."""
    ADVANCE = "a"
    """Run it without a graph and keep nothing."""
    GRAPH = "g"
    """Run it with a graph, for backward."""
    BACKWARD = "b"
    """Backward through its graph; graph and kept input are freed."""
    DROP = "d"
    """Free its graph, whose input stays kept, or else its kept input: while the smashed data is on its way only."""


@dataclass(frozen=True)
class RecomputeStep:
    """One step on one block, counted from 1."""

    action: Action
    block: int

    def __str__(self) -> str:
        return f"{self.action}{self.block}"


RecomputeOrder = tuple[RecomputeStep, ...]
_STEP = re.compile(r"([kagbd])([1-9][0-9]{0,5})")
LADDER = "ladder"
"""What stands in place of an order where every step has one of its own, by what memory there is."""


def format_order(order: Iterable[RecomputeStep]) -> str:
    """Write a recompute order as text."""
    return " ".join(map(str, order))


def parse_order(text: str) -> RecomputeOrder:
    """Read a recompute order from text.

    Raises
    ------
    ContractError
        If a step cannot be read.
    """
    steps = []
    for word in text.split():
        match = _STEP.fullmatch(word)
        if match is None:
            raise ContractError(f"recompute order: found {word!r}; needs steps such as k1, a2, g3, b3 or d2")
        steps.append(RecomputeStep(Action(match[1]), int(match[2])))
    return tuple(steps)


def one_input_per_block(num_blocks: int, first_trained: int = 1) -> RecomputeOrder:
    """Keep the input of every block from the first trained one on, and recompute each block once.

    Parameters
    ----------
    num_blocks
        Blocks of the client part.
    first_trained
        The first block that has something to train; ``num_blocks + 1`` if none has.
    """
    up = [RecomputeStep(Action.ADVANCE if i < first_trained else Action.KEEP, i) for i in range(1, num_blocks + 1)]
    down: list[RecomputeStep] = []
    for i in range(num_blocks, first_trained - 1, -1):
        down += [RecomputeStep(a, i) for a in (Action.GRAPH, Action.BACKWARD)]
    return (*up, *down)


def check_order(order: RecomputeOrder, num_blocks: int, first_trained: int = 1) -> None:
    """Check that an order runs all blocks once on the way up and backward exactly once through each trained one.

    Parameters
    ----------
    order
        What is run, step by step.
    num_blocks
        Blocks of the client part.
    first_trained
        The first block that has something to train.

    Raises
    ------
    ContractError
        The message names the step that does not follow.
    """
    here, reached, next_backward = 1, 1, num_blocks
    kept: set[int] = set()
    graphs: set[int] = set()
    may_drop = False
    for step in order:
        block = step.block
        match step.action:
            case Action.DROP:
                follows = may_drop and (block in graphs or block in kept)
                if block in graphs:
                    graphs.discard(block)
                    kept.add(block)
                else:
                    kept.discard(block)
                here = 0
            case Action.BACKWARD:
                follows = block in graphs and block == next_backward and reached > num_blocks
                next_backward -= 1
                here = 0
                kept.discard(block)
                graphs.discard(block)
            case action:
                follows = (block == here or block in kept) and block <= num_blocks and block not in graphs
                if action is Action.KEEP:
                    kept.add(block)
                if action is Action.GRAPH:
                    graphs.add(block)
                here = block + 1
                may_drop = reached < here == num_blocks + 1
                reached = max(reached, here)
        may_drop = may_drop and step.action is not Action.BACKWARD
        if not follows:
            raise ContractError(f"recompute order: step {step} does not follow; the order is {_short(order)}")
    if reached != num_blocks + 1 or next_backward != first_trained - 1:
        raise ContractError(
            f"recompute order: reaches block {reached - 1} of {num_blocks} and goes back to block "
            f"{next_backward + 1}, needs {first_trained}; the order is {_short(order)}"
        )


def most_kept_inputs(order: RecomputeOrder) -> int:
    """Return the largest number of block inputs that an order keeps at once."""
    kept: set[int] = set()
    most = 0
    for step in order:
        if step.action is Action.KEEP:
            kept.add(step.block)
        elif step.action is Action.BACKWARD:
            kept.discard(step.block)
        most = max(most, len(kept))
    return most


def num_forwards(order: RecomputeOrder) -> dict[int, int]:
    """Return how often an order runs each block forward."""
    counts: dict[int, int] = {}
    for step in order:
        if step.action in (Action.KEEP, Action.ADVANCE, Action.GRAPH):
            counts[step.block] = counts.get(step.block, 0) + 1
    return counts


def _short(order: RecomputeOrder) -> str:
    text = format_order(order)
    return text if len(text) <= 80 else text[:77] + "..."
