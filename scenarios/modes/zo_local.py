"""``zo-local`` (HERON-SFL, arXiv 2601.09076): loss differences of an auxiliary head; nothing comes down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.modes.base import SCALAR_BYTES, Asks, Gradient, StepBytes, StepSizes, TrainingMode
from hybridsplit.scenarios.modes.loss_probes import num_sides

if TYPE_CHECKING:
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder


class ZerothOrderLocalMode(TrainingMode):
    """Forward passes alone: the client probes the local loss along directions, with ``loss_sides`` probes each.

    The server trains on the smashed data of every ``upload_every``-th step; the scalars go up after the round.
    """

    name = "zo-local"
    summary = "HERON-SFL: loss differences of an auxiliary head on the client; nothing comes down from the server"
    gradient = Gradient.ESTIMATED
    asks = Asks.NOTHING
    estimator = "hybridsplit.runtime.estimators.zo_local:ZerothOrderLocal"
    has_local_head = True
    letter, style, colour = "H", "bright_yellow", "#bb5566"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of the clean forward, of all probes with the head, and of the step along the estimate.

        The head runs clean as well where differences are one-sided; two-sided ones need the clean forward for the
        upload alone.
        """
        head = passes.head_of(cut)
        probes, directions = zeroth_order.directions * num_sides(zeroth_order.loss_sides), zeroth_order.directions
        perturbed_s = float(passes.perturbed_forward[:cut].sum()) + float(head.perturbed_forward.sum())
        clean_s = float(passes.forward[:cut].sum())
        if zeroth_order.loss_sides == "one":
            clean_s += float(head.forward.sum())
        step_s = passes.estimated_step_s(0, cut, directions) + head.estimated_step_s(0, 1, directions)
        return probes * perturbed_s + clean_s + step_s

    def saved_without_upload_s(self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder) -> float:
        """Seconds of the clean forward, which two-sided differences do without."""
        return float(passes.forward[:cut].sum()) if zeroth_order.loss_sides == "two" else 0.0

    def model_upload_bytes(self, weights: int, sizes: StepSizes, zeroth_order: ZerothOrder, local_steps: int) -> int:
        """Bytes of the scalars of all steps, and of their row ids: the server has not seen the losses."""
        return local_steps * (SCALAR_BYTES * zeroth_order.directions + sizes.row_ids)

    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of smashed data and labels up, in a step that sends them; nothing comes down."""
        return StepBytes(sizes.smashed + sizes.labels, 0)
