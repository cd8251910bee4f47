"""What every row is worth to a target: columns that tables of scenarios with pilot constants have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.option_rows import Rows
from hybridsplit.scenarios.contracts.options import TARGET_COLUMNS
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.sections.pilot import PilotConstants
from hybridsplit.solver.problem.arrays import FloatArray, Index


@dataclass(frozen=True)
class TargetRows:
    """[K] each, as in :data:`hybridsplit.scenarios.contracts.options.TARGET_COLUMNS`.

    Parameters
    ----------
    gain
        Share of the way to the target that a row adds in a round with nothing in the way.
    delay
        What it puts in the way, where some client trains every block exactly.
    estimate_delay
        What a zeroth-order row adds to that where none does.
    noise_delay
        What a row adds to that for its batches, times the share of the blocks that none trains exactly.
    """

    gain: FloatArray
    delay: FloatArray
    estimate_delay: FloatArray
    noise_delay: FloatArray

    @classmethod
    def of(cls, frame: Rows) -> TargetRows:
        """Read the columns of a table.

        Raises
        ------
        ContractError
            If a column is missing.
        """
        if missing := [name for name in TARGET_COLUMNS if name not in frame]:
            raise ContractError(
                f"the option table lacks the column {missing[0]}, which the objective time-to-target needs: profile "
                "the scenario again, with objective.pilot"
            )
        return cls(*(frame[name].to_numpy(dtype=float) for name in TARGET_COLUMNS))

    def take(self, index: Index) -> TargetRows:
        """Return the figures of some rows."""
        return TargetRows(self.gain[index], self.delay[index], self.estimate_delay[index], self.noise_delay[index])

    def delay_at(self, depth: int, pilot: PilotConstants, weight: FloatArray) -> FloatArray:
        """[K] what every row puts in the way where nobody trains some of the lowest blocks exactly.

        Parameters
        ----------
        depth
            How many blocks.
        pilot
            The constants.
        weight
            [K] share of the data of the row's client; 0 where the row leaves it out.
        """
        if depth == 0:
            return self.delay
        of_blocks = weight * pilot.delay_of_untrained(depth)
        return self.delay + of_blocks + self.estimate_delay + self.noise_delay * pilot.untrained_share(depth)

    def gain_between(self, low: float, high: float, delay: FloatArray) -> FloatArray:
        """[K] gain on the chord between two levels (:mod:`hybridsplit.solver.problem.levels`).

        Parameters
        ----------
        low, high
            The levels.
        delay
            [K] as of :meth:`delay_at`.
        """
        return np.asarray((self.gain * (1.0 + low + high) - delay) / ((1.0 + low) * (1.0 + high)))
