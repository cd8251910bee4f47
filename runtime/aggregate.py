"""Aggregation: one global state from clients with different cuts and modes (DESIGN section 7).

Block by block, the new state is the weighted mean of the states of those who trained the block:

* a client trains blocks ``1..cut`` in its mode, and its server copy trains the blocks above with exact gradients;
* the weight is the client's share of the data times the reliability of whoever trained the block (1 for exact
  gradients, the expected squared cosine for estimates, 0 for frozen parts). Averaging exact and zeroth-order deltas
  equally is worse than ignoring the latter (DESIGN section 7), and this weighting never lets an estimate drown an
  exact gradient. Where everybody's deltas are estimates, they are averaged among themselves;
* BatchNorm statistics are averaged over exact contributors only: estimated and frozen parts run in evaluation mode and
  have gathered none;
* a block nobody trained keeps its state.

The mean of states with weights that sum to one equals the old state plus the weighted mean of deltas; with a single
contributor it is that contributor's state, bit for bit. Contributions are added in the order of the clients in the
scenario, never of arrival.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from runtime.client import Assignment, ClientRound
from runtime.reliability import reliability
from runtime.scalars import widened
from runtime.split import State, block_of
from scenarios.contracts.modes import EXACT_MODES
from scenarios.errors import RunError
from scenarios.schema import ZerothOrder


def aggregate(
    global_state: State,
    rounds: Sequence[ClientRound],
    zeroth_order: ZerothOrder,
    num_trainable_below: Mapping[int, int],
    statistics: frozenset[str],
) -> State:
    """Return the next global state.

    Parameters
    ----------
    global_state
        The state all clients started from.
    rounds
        Their outcomes, in the order of the clients in the scenario.
    zeroth_order
        Settings that decide the reliability of estimates.
    num_trainable_below
        Trainable parameters of the client part, by cut.
    statistics
        Names of the entries that are BatchNorm statistics.

    Raises
    ------
    RunError
        If a client's state is not finite; the message names it.
    """
    for outcome in rounds:
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in outcome.state.values())
        if not (finite and math.isfinite(outcome.train_loss)):
            what = "finite" if finite else "non-finite"
            raise RunError(
                f"client {outcome.assignment.client} (cut {outcome.assignment.cut}, {outcome.assignment.mode}): "
                f"found a train loss of {outcome.train_loss} and {what} weights; training diverged: lower "
                "training.optimizer.learning_rate, "
                "or training.zeroth_order.optimizer.learning_rate if its mode is zeroth-order"
            )
    trust = [reliability(o.assignment.mode, zeroth_order, num_trainable_below[o.assignment.cut]) for o in rounds]
    new_state: State = {}
    for name, old in global_state.items():
        weights = [
            outcome.assignment.data_weight * _weight(outcome.assignment, trust_in, name, name in statistics)
            for outcome, trust_in in zip(rounds, trust, strict=True)
        ]
        new_state[name] = _weighted_mean(old, [outcome.state[name] for outcome in rounds], weights)
    return new_state


def _weight(assignment: Assignment, trust: float, name: str, is_statistic: bool) -> float:
    """Weight, before data, of a client's version of one entry."""
    if block_of(name) >= assignment.cut:
        return 1.0
    if is_statistic:
        return 1.0 if assignment.mode in EXACT_MODES else 0.0
    return trust


def _weighted_mean(old: Tensor, versions: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = math.fsum(weights)
    if total == 0.0:
        return old.clone()
    mean: Tensor | None = None
    for version, weight in zip(versions, weights, strict=True):
        if weight > 0.0:
            share = weight / total
            # Half precision is averaged in single precision; single precision is left as it is.
            wide = widened(version)
            mean = wide.mul(share) if mean is None else mean.add_(wide, alpha=share)
    assert mean is not None
    return mean.to(old.dtype)
