"""What every option is worth to a target: the terms of the model of rounds, and the gain and delay they make.

``R = rounds · (1 + Σ constant · term)`` (docs/methods/progress.md): with ``gain = w / rounds`` and ``delay = Σ constant
· term / rounds`` of the client's own row, a plan with sums ``G`` and ``D`` gains ``G / (1 + D/G)`` of the way in a
round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridsplit.profiler.costs import BlockCost
from hybridsplit.scenarios.errors import ScenarioError
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
    untrained_skew
        ``w s δ`` where the client part is not trained exactly, ``δ`` being how unlike the client's labels are.
    depth
        Lowest blocks that the row does not train exactly.
    block_share
        [L] every block's share of the blocks that have something to train.
    """

    weight: FloatArray
    batch_noise: FloatArray
    untrained_clients: FloatArray
    estimate_noise: FloatArray
    drift: FloatArray
    untrained_skew: FloatArray
    depth: NDArray[np.int64]
    block_share: FloatArray


def block_shares(costs: Sequence[BlockCost]) -> FloatArray:
    """[L] every block's share of the blocks that have something to train."""
    trainable = np.array([cost.num_trainable > 0 for cost in costs], dtype=float)
    return np.asarray(trainable / trainable.sum())


def terms_of(
    table: pd.DataFrame,
    scenario: Scenario,
    costs: Sequence[BlockCost],
    client_drift: Mapping[str, float],
    client_skew: Mapping[str, float] = MappingProxyType({}),
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
    client_skew
        By client, ``δ``; 0 for clients that are absent.
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
    skew = table["client"].map(lambda name: client_skew.get(name, 0.0)).to_numpy(dtype=float)
    spread = table["client"].map(lambda name: client_drift.get(name, 0.0)).to_numpy(dtype=float)
    return Terms(
        weight=weight,
        batch_noise=weight**2 / table["batch_size"].to_numpy(dtype=float),
        untrained_clients=weight * share * ~exact,
        estimate_noise=np.where(estimated, weight**2 * share / reliability, 0.0),
        drift=weight * spread * own,
        untrained_skew=weight * share * skew * ~exact,
        depth=np.where(exact, 0, cut),
        block_share=block_shares(costs),
    )


def with_gains(
    table: pd.DataFrame, scenario: Scenario, costs: Sequence[BlockCost], pilot: PilotConstants
) -> pd.DataFrame:
    """Return the rows of a table with the columns of ``TARGET_COLUMNS``.

    Where the constants are not identified, the expected progress stands in for the gain.

    Parameters
    ----------
    table, scenario, costs
        As of :func:`terms_of`.
    pilot
        The constants.

    Raises
    ------
    ScenarioError
        If they are of a model with another number of blocks.
    """
    if len(pilot.block_share) != len(costs):
        raise ScenarioError(
            f"objective.pilot.block_share: found {len(pilot.block_share)} shares, and the model has {len(costs)} "
            "blocks; needs one for each, as hybridsplit pilot writes them: run it again for this model"
        )
    terms = terms_of(table, scenario, costs, pilot.client_drift, pilot.client_skew)
    if not pilot.is_usable:
        progress = table["progress"].to_numpy(dtype=float)
        return table.assign(gain=terms.weight * progress / pilot.rounds, delay=0.0, estimate_delay=0.0, noise_delay=0.0)
    delay = pilot.batch_noise * terms.batch_noise + pilot.untrained_clients * terms.untrained_clients
    delay = delay + pilot.drift * terms.drift + pilot.untrained_skew * terms.untrained_skew
    return table.assign(
        gain=terms.weight / pilot.rounds,
        delay=delay / pilot.rounds,
        estimate_delay=pilot.estimate_noise * terms.estimate_noise / pilot.rounds,
        noise_delay=pilot.untrained_noise * terms.batch_noise / pilot.rounds,
    )
