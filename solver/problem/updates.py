"""What rows of an option table spend on updates after the last of several micro-batches, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.option_rows import Rows
from hybridsplit.scenarios.contracts.updates import UPDATE_COLUMNS
from hybridsplit.solver.problem.arrays import FloatArray


class UpdateArrays(NamedTuple):
    """[K] the parts of a round's totals that updates cause, as in a row of the table."""

    client_update_s: FloatArray
    server_update_s: FloatArray

    @classmethod
    def of(cls, frame: Rows) -> UpdateArrays:
        """Return those of rows; nothing where the table has no such columns."""
        return cls(
            *(frame[name].to_numpy(dtype=float) if name in frame else np.zeros(len(frame)) for name in UPDATE_COLUMNS)
        )
