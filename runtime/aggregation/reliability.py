"""How much of an exact step a step of each mode is worth in expectation."""

from __future__ import annotations

from hybridsplit.scenarios.contracts.modes import EXACT_MODES, Mode
from hybridsplit.scenarios.schema import Training, ZerothOrder


def reliability(mode: Mode, zeroth_order: ZerothOrder, num_trainable: int) -> float:
    """Expected squared cosine between a mode's step and the exact gradient of the client part.

    1 for exact gradients, ``q / (d + q - 1)`` for an estimate from q directions in d dimensions
    (docs/methods/training-modes.md, Estimator moments; the three distributions differ by 1/d of it at most), 0
    for a frozen part. It is the
    ``ρ`` of a client's expected progress and the weight of its deltas in the aggregation.

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
    return _of_estimate(zeroth_order, num_trainable)


def expected_progress(mode: Mode, training: Training, below: float, num_trainable: int, num_above: int) -> float:
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
    """
    client = reliability(mode, training.zeroth_order, num_trainable) if num_trainable else 1.0
    server = 1.0
    if training.server_gradient == "zeroth-order" and num_above:
        server = _of_estimate(training.zeroth_order, num_above)
    # Shares sum to 1 up to rounding; an exact step is worth exactly 1.
    return 1.0 if client == server == 1.0 else server * (1.0 - below) + client * below


def _of_estimate(zeroth_order: ZerothOrder, num_trainable: int) -> float:
    dimension = min(zeroth_order.effective_dimension or num_trainable, num_trainable)
    return zeroth_order.directions / (dimension + zeroth_order.directions - 1)
