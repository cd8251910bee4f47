"""Optimizer state of a client that is placed otherwise than when it last trained: whose it is, and what was sent."""

from __future__ import annotations

from typing import NamedTuple

from hybridsplit.runtime.split.parts import State, block_of
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.handing_over import Fate, fate
from hybridsplit.scenarios.schema import Training


class HandedOver(NamedTuple):
    """The state after a change of placement.

    Parameters
    ----------
    client, server
        By name of parameter and state, what each side goes on from.
    moved_up, moved_down
        What was sent for that, scalars such as counts of steps left out.
    """

    client: State
    server: State
    moved_up: State
    moved_down: State


def sides(**states: State) -> State:
    """Join the optimizer states of client and server into one."""
    return {f"{side}:{name}": tensor.clone() for side, state in states.items() for name, tensor in state.items()}


def of_side(state: State, side: str) -> State:
    """Return one side's part of what :func:`sides` joined."""
    prefix = f"{side}:"
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def handed_over(client: State, server: State, assignment: Assignment, training: Training) -> HandedOver:
    """Give the state of each block to the side that trains it now.

    What goes where is in :mod:`hybridsplit.scenarios.contracts.handing_over`.

    Parameters
    ----------
    client, server
        What each side has kept.
    assignment
        The client's placement, and the one it trained by before; without one nothing changes.
    training
        Optimizers and server model.
    """
    before, after = assignment.before, assignment.placement
    if before is None:
        return HandedOver(client, server, {}, {})
    sides: tuple[State, State] = ({}, {})
    moved: tuple[State, State] = ({}, {})
    for own, state in enumerate((client, server)):
        for name, tensor in state.items():
            block = block_of(name)
            # A server copy may have state of blocks that were the client's long ago: only the present side's counts.
            if (block < before.cut) != (own == 0):
                continue
            what = fate(block, before, after, training)
            if what is Fate.STAYS:
                sides[own][name] = tensor
            elif what is Fate.MOVES:
                sides[1 - own][name] = tensor
                if tensor.dim() > 0:
                    moved[own][name] = tensor
    return HandedOver(*sides, *moved)
