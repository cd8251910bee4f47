"""How much of an exact step a step of each mode is worth in expectation."""

from __future__ import annotations

from scenarios.contracts.modes import EXACT_MODES, Mode
from scenarios.schema import ZerothOrder


def reliability(mode: Mode, zeroth_order: ZerothOrder, num_trainable: int) -> float:
    """Expected squared cosine between a mode's step and the exact gradient of the client part.

    1 for exact gradients, ``q / (d + q - 1)`` for an estimate from q directions in d dimensions (methods note,
    section 0, estimator moments), 0 for a frozen part. It is the ``ρ`` of a client's expected progress and the weight
    of its deltas in the aggregation.

    Parameters
    ----------
    mode
        Training mode of the client part.
    zeroth_order
        Directions, and the effective dimension if the scenario states one.
    num_trainable
        Trainable parameters of the client part: the dimension otherwise.
    """
    if mode in EXACT_MODES:
        return 1.0
    if mode is Mode.FROZEN or num_trainable == 0:
        return 0.0
    dimension = min(zeroth_order.effective_dimension or num_trainable, num_trainable)
    return zeroth_order.directions / (dimension + zeroth_order.directions - 1)
