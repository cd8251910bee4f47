"""Aggregation: one global state from clients with different cuts and modes.

See docs/methods/training-modes.md, Aggregation weights.

Block by block, the new state is the weighted mean of the states of those who trained the block:

* a client trains blocks ``1..cut`` in its mode, and its server copy, or its head, trains the blocks above;
* the weight is the client's share of the data times the reliability of the mode that trained the block (1 for
  exact gradients, the expected squared cosine for estimates, 0 for frozen parts). Averaging exact and zeroth-order
  deltas equally is worse than ignoring the latter; with this weighting an estimate never outweighs an exact gradient.
  Where all deltas of a block are estimates, they are averaged among themselves;
* BatchNorm statistics are averaged over contributors that back-propagate only: estimated and frozen parts run in
  evaluation mode and have gathered none;
* the auxiliary head behind a cut is averaged over the clients with that cut whose mode has one;
* a block that no client trained keeps its state.

The mean of states with weights that sum to one equals the old state plus the weighted mean of deltas; with a single
contributor it is that contributor's state, bit for bit. Clients are averaged in groups first and the groups then, both
in the order of the scenario, never of arrival, and the groups do not depend on who computes them: so neither do the
bits. Sums are in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hybridsplit.runtime.split.parts import SplitModel, State, block_of, is_of_head
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.modes.base import reliability_of_estimate
from hybridsplit.scenarios.schema import Training

Weights = Mapping[str, float]
"""Weight of a contribution by entry; entries with no weight are absent."""


@dataclass(frozen=True)
class Contribution:
    """Weighted mean of some clients' states.

    Parameters
    ----------
    mean
        By entry; entries that none of the clients trained are absent.
    weights
        Sum of the clients' weights, for the same entries.
    """

    mean: State
    weights: dict[str, float]


class WeightedMean:
    """Averages states that are added one after another, in memory of one sum."""

    def __init__(self) -> None:
        self._first: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, state: Mapping[str, Tensor], weights: Weights) -> None:
        """Add a state; entries without a weight do not count.

        Parameters
        ----------
        state
            Entries by name; not kept.
        weights
            Weight by entry.
        """
        by_weight: dict[float, list[str]] = {}
        for name, weight in weights.items():
            if name not in self._weights:
                # One contributor's bits stay as they are: no sum is made of them until there is a second one.
                self._first[name] = state[name].clone()
                self._weights[name] = weight
                continue
            if name in self._first:
                self._sums[name] = self._first.pop(name).double().mul_(self._weights[name])
            self._weights[name] += weight
            by_weight.setdefault(weight, []).append(name)
        for weight, names in by_weight.items():
            torch._foreach_add_([self._sums[name] for name in names], [state[name] for name in names], alpha=weight)

    def contribution(self, like: State) -> Contribution:
        """Return the mean of what was added, in the precision of a state, and forget it.

        Parameters
        ----------
        like
            Gives the order of the entries, and their precision.
        """
        mean: State = {}
        for name, old in like.items():
            if name in self._first:
                mean[name] = self._first.pop(name)
            elif name in self._sums:
                mean[name] = self._sums.pop(name).div_(self._weights[name]).to(old.dtype)
        weights = {name: self._weights[name] for name in mean}
        self._weights = {}
        return Contribution(mean, weights)


class EntryWeights:
    """What each client's version of each entry weighs.

    Parameters
    ----------
    model
        The model: blocks, trainable parameters and statistics.
    training
        Decides the reliability of estimates.
    """

    def __init__(self, model: SplitModel, training: Training) -> None:
        self._training = training
        self._model = model
        trainable = {name for name, _ in model.whole.trainable()}
        names = list(model.whole.exchanged())
        self._entries = [(name, block_of(name), name not in trainable) for name in names if not is_of_head(name)]
        self._heads = [(name, block_of(name)) for name in names if is_of_head(name)]
        self._known: dict[tuple[int, str], dict[str, float]] = {}

    def of(self, assignment: Assignment) -> Weights:
        """Return the weights of one client's entries."""
        key = assignment.placement.cut, assignment.placement.mode
        if key not in self._known:
            self._known[key] = self._reliability(*key)
        return {name: assignment.data_weight * trust for name, trust in self._known[key].items()}

    def of_client(self, assignment: Assignment) -> float:
        """Return what a client's own deltas weigh."""
        return assignment.data_weight * self._of_part(assignment.placement.cut, assignment.placement.mode)

    def _of_part(self, cut: int, mode: str) -> float:
        num_trainable = self._model.client_part(cut, mode).num_trainable
        return MODES[mode].reliability(self._training.zeroth_order, num_trainable)

    def _reliability(self, cut: int, mode: str) -> dict[str, float]:
        settings = self._training.zeroth_order
        client = self._of_part(cut, mode)
        server = 1.0
        if self._training.server_gradient == "zeroth-order":
            server = reliability_of_estimate(settings, self._model.server_part(cut).num_trainable)
        found: dict[str, float] = {}
        for name, block, is_statistic in self._entries:
            if block < self._training.zo_prefix_blocks:
                continue  # moved by averaged scalars, see hybridsplit.runtime.aggregation.scalar_log
            trust = server if block >= cut else client
            if is_statistic and block < cut:
                trust = 1.0 if MODES[mode].uploads_weights else 0.0
            if trust > 0.0:
                found[name] = trust
        if MODES[mode].has_local_head and client > 0.0:
            found |= {name: client for name, block in self._heads if block == cut - 1}
        return found


def summed(weights: list[Weights]) -> Weights:
    """Return the weights of several clients together."""
    total: dict[str, float] = {}
    for one in weights:
        for name, weight in one.items():
            total[name] = total.get(name, 0.0) + weight
    return total


def is_finite(state: Mapping[str, Tensor]) -> bool:
    """Whether all entries of a state are finite."""
    entries = [entry for entry in state.values() if entry.numel()]
    if not entries:
        return True
    # Norms are faster than `isfinite`, and finite only if all entries are; where squares overflow, check entries.
    norms = torch.stack(torch._foreach_norm(entries, 2))
    return math.isfinite(norms.sum().item()) or all(bool(entry.isfinite().all()) for entry in entries)
