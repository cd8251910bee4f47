"""How much of an exact step a step is worth in expectation, both sides of the cut together."""

from __future__ import annotations

from hybridsplit.scenarios.modes import TrainingMode
from hybridsplit.scenarios.modes.base import reliability_of_estimate
from hybridsplit.scenarios.schema import Training


def expected_progress(
    mode: TrainingMode,
    training: Training,
    below: float,
    num_trainable: int,
    num_above: int,
    *,
    kept_below: float = 1.0,
    kept_above: float = 1.0,
) -> float:
    """Expected progress of a step against an exact one: both sides' shares, each by its reliability.

    Parameters
    ----------
    mode
        Training mode of the client part.
    training
        Says how the server part is trained, and along how many directions.
    below
        Share of the squared gradient norm in the client part.
    num_trainable, num_above
        Trainable parameters of the client part and of the server part.
    kept_below, kept_above
        Share of the gradient of either part that steps keep; less than 1 where parameters are trained in half
        precision, and small steps are lost in rounding.
    """
    client = kept_below * mode.reliability(training.zeroth_order, num_trainable) if num_trainable else 1.0
    server = kept_above
    if training.server_gradient == "zeroth-order" and num_above:
        server *= reliability_of_estimate(training.zeroth_order, num_above)
    # Shares sum to 1 up to rounding; an exact step is worth exactly 1.
    return 1.0 if client == server == 1.0 else server * (1.0 - below) + client * below
