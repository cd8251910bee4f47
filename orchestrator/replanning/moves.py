"""Bytes that a change of plan moves."""

from __future__ import annotations

from collections.abc import Sequence

from hybridsplit.profiler.options import block_costs, profiled_model
from hybridsplit.runtime.replay.changing import MovedBytes
from hybridsplit.scenarios.contracts.handing_over import Fate, fate, state_copies
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.schema import Scenario

_BYTES_PER_SCALAR = 4
"""What is trained, and what optimizers keep of it, is in single precision."""


class Moves:
    """Counts what changes of a scenario's plan move (:mod:`hybridsplit.scenarios.contracts.handing_over`).

    Parameters
    ----------
    scenario
        The scenario; its model is profiled only where optimizer state is kept.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._training = scenario.training
        copies = state_copies(scenario.training)
        self._block_bytes: Sequence[int] = (
            [copies * _BYTES_PER_SCALAR * cost.num_trainable for cost in block_costs(profiled_model(scenario))]
            if copies
            else []
        )

    def between(self, before: Plan, after: Plan) -> dict[str, MovedBytes]:
        """Return, by client that has anything to move, the bytes up and down.

        Parameters
        ----------
        before, after
            Plans of the same clients.
        """
        found = {}
        for one, other in zip(before.clients, after.clients, strict=True):
            moved = self.of(one, other)
            if moved != MovedBytes():
                found[one.id] = moved
        return found

    def of(self, before: Placement, after: Placement) -> MovedBytes:
        """Return the bytes that one client moves between two placements."""
        low, high = sorted((before.cut, after.cut))
        size = sum(
            self._block_bytes[block]
            for block in range(low, min(high, len(self._block_bytes)))
            if fate(block, before, after, self._training) is Fate.MOVES
        )
        return MovedBytes(down=size) if after.cut > before.cut else MovedBytes(up=size)
