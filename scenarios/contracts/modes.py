"""Names of our own training modes; what each is stands in :mod:`hybridsplit.scenarios.modes`."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """How the client part is trained."""

    FO = "fo"
    """Forward, keep activations, backward: exact gradients."""
    FO_RECOMPUTE = "fo-recompute"
    """Exact gradients with block inputs kept, blocks recomputed, and the optimizer inside backward."""
    ZO_PROJECTION = "zo-projection"
    """HO-SFL: forward differences projected on the gradient at the cut, on the client."""
    ZO_LOSS = "zo-loss"
    """HOSL: loss differences, answered by the server; the gradient at the cut is never revealed."""
    FROZEN = "frozen"
    """Forward only: this client trains none of its blocks."""
