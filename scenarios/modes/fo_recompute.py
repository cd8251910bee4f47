"""``fo-recompute``: exact gradients, block by block, with the optimizer inside backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.modes.fo import FirstOrderMode

if TYPE_CHECKING:
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder


class FirstOrderRecomputeMode(FirstOrderMode):
    """Keeps some block inputs and runs the others again in backward (Chen et al., arXiv 1604.06174)."""

    name = "fo-recompute"
    summary = "exact gradients with block inputs kept, blocks recomputed, and the optimizer inside backward"
    estimator = "hybridsplit.runtime.estimators.fo_recompute:FirstOrderRecompute"
    has_recompute_orders = True
    updates_in_backward = True
    overlaps = frozenset({"current"})
    letter, style, colour = "R", "green", "#117733"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of all forwards, backward and update; twice forward from the lowest trained block on by default."""
        import numpy as np

        counts = 1 + np.logical_or.accumulate(passes.trains[:cut]) if forwards is None else np.array(forwards)
        return float(passes.forward[:cut] @ counts) + passes.exact_backward_s(0, cut, wants_input=False)
