"""What every option is worth to a target: the terms of the model of rounds, and the signed gain they make.

``R = rounds / (1 - Σ constant · term)``, so a round gains ``1 / R`` of the way, and that is a sum over clients
(docs/methods/progress.md): ``gain = (w - Σ constant · term) / rounds``, with the terms of the client's own row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridsplit.profiler.costs import BlockCost
from hybridsplit.scenarios.modes import MODES, Gradient
from hybridsplit.scenarios.schema import PilotConstants, Scenario

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """Terms of the model, by row of an option table ([K] each, never negative).

    Parameters
    ----------
    weight
        ``w``, the client's share of the data.
    batch_noise
        ``w² / B``: the variance that a batch of ``B`` samples adds to the mean.
    untrained_clients
        ``w s`` where the client part is not trained exactly, ``s`` being its share of the trainable parameters.
    estimate_noise
        ``w² s / ρ`` of a zeroth-order part: the variance of its estimate, ``ρ`` being the expected squared cosine.
    drift
        ``w ζ² q``: with ``q`` the share of the parameters that are the client's own within a round.
    depth
        Lowest blocks that the row does not train exactly.
    block_share
        [L] every block's share of the trainable parameters.
    """

    weight: FloatArray
    batch_noise: FloatArray
    untrained_clients: FloatArray
    estimate_noise: FloatArray
    drift: FloatArray
    depth: NDArray[np.int64]
    block_share: FloatArray


def block_shares(costs: Sequence[BlockCost]) -> FloatArray:
    """[L] every block's share of the trainable parameters."""
    trainable = np.array([cost.num_trainable for cost in costs], dtype=float)
    return np.asarray(trainable / trainable.sum())


def terms_of(
    table: pd.DataFrame, scenario: Scenario, costs: Sequence[BlockCost], client_drift: Mapping[str, float]
) -> Terms:
    """Compute the terms of every row.

    Parameters
    ----------
    table
        [K] rows of an option table.
    scenario
        Says how parts are trained.
    costs
        [L] costs of the model's blocks.
    client_drift
        By client, ``ζ²``; 0 for clients that are absent.
    """
    trainable = np.array([cost.num_trainable for cost in costs], dtype=np.int64)
    below = np.concatenate([[0], np.cumsum(trainable)])
    cut, weight = table["cut"].to_numpy(dtype=np.int64), table["data_weight"].to_numpy(dtype=float)
    share = below[cut] / below[-1]
    gradient = [MODES[mode].gradient for mode in table["mode"].tolist()]
    exact = np.array([one is Gradient.EXACT for one in gradient]) | (below[cut] == 0)
    estimated = np.array([one is Gradient.ESTIMATED for one in gradient]) & ~exact
    zeroth_order = scenario.training.zeroth_order
    reliability = np.array(
        [
            MODES[mode].reliability(zeroth_order, int(size)) if is_estimate else 1.0
            for mode, size, is_estimate in zip(table["mode"].tolist(), below[cut], estimated, strict=True)
        ]
    )
    own = np.ones(len(table)) if scenario.training.server_model == "per-client" else share
    spread = table["client"].map(lambda name: client_drift.get(name, 0.0)).to_numpy(dtype=float)
    return Terms(
        weight=weight,
        batch_noise=weight**2 / table["batch_size"].to_numpy(dtype=float),
        untrained_clients=weight * share * ~exact,
        estimate_noise=np.where(estimated, weight**2 * share / reliability, 0.0),
        drift=weight * spread * own,
        depth=np.where(exact, 0, cut),
        block_share=block_shares(costs),
    )


def with_gains(
    table: pd.DataFrame, scenario: Scenario, costs: Sequence[BlockCost], pilot: PilotConstants
) -> pd.DataFrame:
    """Return the rows of a table with the columns ``gain`` and ``estimate_loss``.

    Where the constants are not identified, the expected progress stands in for the gain.

    Parameters
    ----------
    table, scenario, costs
        As of :func:`terms_of`.
    pilot
        The constants.
    """
    terms = terms_of(table, scenario, costs, pilot.client_drift)
    if not pilot.is_usable:
        progress = table["progress"].to_numpy(dtype=float)
        return table.assign(gain=terms.weight * progress / pilot.rounds, estimate_loss=0.0)
    lost = pilot.batch_noise * terms.batch_noise + pilot.untrained_clients * terms.untrained_clients
    lost = lost + pilot.drift * terms.drift
    return table.assign(
        gain=(terms.weight - lost) / pilot.rounds,
        estimate_loss=pilot.estimate_noise * terms.estimate_noise / pilot.rounds,
    )
