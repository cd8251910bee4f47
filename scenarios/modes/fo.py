"""``fo``: exact gradients with all activations kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.modes.base import Asks, Gradient, StepBytes, StepSizes, TrainingMode

if TYPE_CHECKING:
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder


class FirstOrderMode(TrainingMode):
    """Split back-propagation (Gupta and Raskar, arXiv 1810.06060): forward, keep activations, backward."""

    name = "fo"
    summary = "forward, keep activations, backward: exact gradients"
    gradient = Gradient.EXACT
    asks = Asks.GRADIENT
    estimator = "hybridsplit.runtime.estimators.fo:FirstOrder"
    runs_whole_model = True
    divides_batches = True
    splits_in_three = True
    overlaps = frozenset({"stash", "current"})
    letter, style, colour = "F", "blue", "#332288"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of forward, backward and update."""
        return float(passes.forward[:cut].sum()) + passes.exact_backward_s(0, cut, wants_input=False)

    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of smashed data and labels up, λ down."""
        return StepBytes(sizes.smashed + sizes.labels, sizes.smashed if client_trains else 0)
