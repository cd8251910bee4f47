"""``zo-projection`` (HO-SFL, arXiv 2603.14773): forward differences projected on the gradient at the cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.modes.base import SCALAR_BYTES, Asks, Gradient, StepBytes, StepSizes, TrainingMode
from hybridsplit.scenarios.modes.loss_probes import num_sides

if TYPE_CHECKING:
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder


class ZerothOrderProjectionMode(TrainingMode):
    """One anchor forward and P perturbed ones; scalars are computed on the device from λ."""

    name = "zo-projection"
    summary = "HO-SFL: forward differences projected on the gradient at the cut, on the client"
    gradient = Gradient.ESTIMATED
    asks = Asks.GRADIENT
    estimator = "hybridsplit.runtime.estimators.zo_projection:ZerothOrderProjection"
    receives_scalars = True
    overlaps = frozenset({"current"})
    letter, style, colour = "P", "magenta", "#882255"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of the anchor, the probes of all directions, and the step along the estimate."""
        probe_s = num_sides(zeroth_order.projection_sides) * float(passes.perturbed_forward[:cut].sum())
        if zeroth_order.derivative == "forward-mode":
            probe_s = float(passes.forward_mode[:cut].sum())
        directions = zeroth_order.directions
        anchor_s = float(passes.forward[:cut].sum())
        return anchor_s + directions * probe_s + passes.estimated_step_s(0, cut, directions)

    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of smashed data, labels, row ids and P scalars up; λ, and scalars with their seeds, down."""
        scalars = SCALAR_BYTES * zeroth_order.directions
        return StepBytes(sizes.smashed + sizes.labels + sizes.row_ids + scalars, sizes.smashed + 2 * scalars)
