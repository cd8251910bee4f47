"""``fo-local``: exact gradients of the loss of an auxiliary head; no gradient comes down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.modes.base import Asks, Gradient, StepBytes, StepSizes, TrainingMode

if TYPE_CHECKING:
    from hybridsplit.scenarios.modes.passes import BlockSeconds
    from hybridsplit.scenarios.sections.training import ZerothOrder


class FirstOrderLocalMode(TrainingMode):
    """The client part and its auxiliary head are trained by a local loss (CSE-FSL, Mu and Shen, arXiv 2307.11532).

    The server trains on the smashed data of every ``upload_every``-th step.
    """

    name = "fo-local"
    summary = "exact gradients of the loss of an auxiliary head on the client; nothing comes down from the server"
    gradient = Gradient.LOCAL
    asks = Asks.NOTHING
    estimator = "hybridsplit.runtime.estimators.fo_local:FirstOrderLocal"
    has_local_head = True
    letter, style, colour = "A", "yellow", "#ddaa33"

    def client_step_s(
        self, passes: BlockSeconds, cut: int, zeroth_order: ZerothOrder, forwards: Sequence[int] | None = None
    ) -> float:
        """Seconds of forward, backward and update, of the client part and of the head."""
        head = passes.head_of(cut)
        trains = bool(passes.trains[:cut].any())
        of_head_s = float(head.forward.sum()) + head.exact_backward_s(0, 1, wants_input=trains)
        return of_head_s + float(passes.forward[:cut].sum()) + passes.exact_backward_s(0, cut, wants_input=False)

    def step_bytes(self, sizes: StepSizes, zeroth_order: ZerothOrder, *, client_trains: bool) -> StepBytes:
        """Bytes of smashed data and labels up, in a step that sends them; nothing comes down."""
        return StepBytes(sizes.smashed + sizes.labels, 0)
