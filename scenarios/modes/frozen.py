"""``frozen``: the control. The client part is evaluated and never trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.modes.base import Asks, Gradient, StepBytes, StepSizes, TrainingMode

if TYPE_CHECKING:
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder


class FrozenMode(TrainingMode):
    """Forward only: this client trains none of its blocks; chosen only where a scenario lists it."""

    name = "frozen"
    summary = "forward only: the client part is not trained, the control of every comparison"
    gradient = Gradient.NONE
    asks = Asks.NOTHING
    estimator = "hybridsplit.runtime.estimators.frozen:Frozen"
    splits_in_three = True
    letter, style, colour = "Z", "dim", "#7b8794"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of the forward pass."""
        return float(passes.forward[:cut].sum())

    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of smashed data and labels up; nothing comes down."""
        return StepBytes(sizes.smashed + sizes.labels, 0)
