"""Names of our own training modes (docs/methods/training-modes.md, The modes).

What each is stands in :mod:`hybridsplit.scenarios.modes`.
"""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """How the client part is trained."""

    FO = "fo"
    """Forward, keep activations, backward: exact gradients."""
    FO_RECOMPUTE = "fo-recompute"
    """Exact gradients with block inputs kept, blocks recomputed, and the optimizer inside backward."""
    FO_LOCAL = "fo-local"
    """Exact gradients of the loss of an auxiliary head on the client; nothing comes down from the server."""
    ZO_PROJECTION = "zo-projection"
    """HO-SFL: forward differences projected on the gradient at the cut, on the client."""
    ZO_LOSS = "zo-loss"
    """HOSL: loss differences, answered by the server; the gradient at the cut is never revealed."""
    ZO_LOCAL = "zo-local"
    """HERON-SFL: loss differences of an auxiliary head on the client; nothing comes down from the server."""
    FROZEN = "frozen"
    """Forward only: this client trains none of its blocks."""
