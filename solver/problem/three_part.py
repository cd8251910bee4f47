"""What rows of an option table spend on a head on the client, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.option_rows import Rows
from hybridsplit.scenarios.contracts.three_part import HEAD_COLUMNS
from hybridsplit.solver.problem.arrays import FloatArray, IntArray


class HeadArrays(NamedTuple):
    """[K] the parts of a round's totals that the head on the client causes, as in a row of the table."""

    head_compute_s: FloatArray
    head_features_bytes: IntArray
    head_gradient_bytes: IntArray
    server_backward_s: FloatArray

    @classmethod
    def of(cls, frame: Rows) -> HeadArrays:
        """Return those of rows; nothing where the table has no such columns."""
        return cls(
            *(
                frame[name].to_numpy(dtype=dtype) if name in frame else np.zeros(len(frame), dtype=dtype)
                for name, dtype in HEAD_COLUMNS.items()
            )
        )
