"""What clients and server hand over when a cut moves between two rounds.

Weights need no way of their own: every round begins with the download of the client part and ends with the upload of
what was trained, at the new cut's size. What is kept between rounds is the optimizers' state
(``training.optimizer_state: keep``). That of a block goes with it to the other side where both sides train it by the
same optimizer: the mode is one of exact gradients before and after, the server has the client's optimizer, and a server
copy for each client. Everywhere else the state of blocks that change sides begins anew, as does that of a client part
whose gradients become estimates or exact ones.
"""

from __future__ import annotations

from enum import StrEnum

from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.modes import MODES, Gradient
from hybridsplit.scenarios.sections.training import Training


class Fate(StrEnum):
    """What becomes of the optimizer state of a block between two placements."""

    STAYS = "stays"
    """It goes on where it is."""
    MOVES = "moves"
    """It goes over to the other side."""
    ENDS = "ends"
    """It begins anew."""


def fate(block: int, before: Placement, after: Placement, training: Training) -> Fate:
    """Return what becomes of the optimizer state of a block.

    Parameters
    ----------
    block
        Its index, from 0.
    before, after
        The client's placements.
    training
        Its optimizers and server model.
    """
    was_client, is_client = block < before.cut, block < after.cut
    gradients = MODES[before.mode].gradient, MODES[after.mode].gradient
    if was_client == is_client:
        return Fate.STAYS if not is_client or gradients[0] is gradients[1] else Fate.ENDS
    # The side that is the client's must be trained as the server trains, in the round where the block is there.
    at_client = gradients[0] if was_client else gradients[1]
    same = (
        at_client is Gradient.EXACT
        and training.server_gradient == "exact"
        and training.server_model == "per-client"
        and training.server_optimizer in (None, training.optimizer)
    )
    return Fate.MOVES if same else Fate.ENDS


def state_copies(training: Training) -> int:
    """Return how many tensors of a parameter's size the exact optimizer keeps for it between rounds."""
    if training.optimizer_state != "keep":
        return 0
    if training.optimizer.name == "adamw":
        return 2
    return 1 if training.optimizer.momentum > 0 else 0
