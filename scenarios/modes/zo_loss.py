"""``zo-loss`` (HOSL, arXiv 2601.10940): loss differences, answered by the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.modes.base import SCALAR_BYTES, Asks, Gradient, StepBytes, StepSizes, TrainingMode
from hybridsplit.scenarios.modes.loss_probes import LossProbes

if TYPE_CHECKING:
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder


class ZerothOrderLossMode(TrainingMode):
    """Probes with the server part fixed, each answered with its loss; the gradient at the cut is never revealed."""

    name = "zo-loss"
    summary = "HOSL: loss differences, answered by the server; the gradient at the cut is never revealed"
    gradient = Gradient.ESTIMATED
    asks = Asks.LOSSES
    estimator = "hybridsplit.runtime.estimators.zo_loss:ZerothOrderLoss"
    runs_whole_model = True
    letter, style, colour = "L", "red", "#cc6677"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of all probes, of the clean forward where there is one, and of the step along the estimate."""
        probes = LossProbes.of(zeroth_order, on_device=cut == len(passes.forward))
        perturbed_s = probes.perturbed * float(passes.perturbed_forward[:cut].sum())
        evaluated_s = perturbed_s + probes.clean * float(passes.forward[:cut].sum())
        return evaluated_s + passes.estimated_step_s(0, cut, zeroth_order.directions)

    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of the smashed data of every probe, labels and row ids up; a loss a probe down."""
        probes = LossProbes.of(zeroth_order, on_device=False)
        uplink = probes.uploads * sizes.smashed + sizes.labels + sizes.row_ids
        return StepBytes(uplink, probes.losses * SCALAR_BYTES)

    def probes(self, zeroth_order: ZerothOrder, *, on_device: bool) -> LossProbes:
        """Return the probes of a step."""
        return LossProbes.of(zeroth_order, on_device=on_device)
