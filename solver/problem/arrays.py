"""Names for the array types that the solver passes around."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Index = Any
"""Whatever indexes the leading axis of an array: a slice, an index array or a mask."""

__all__ = ["BoolArray", "FloatArray", "Index", "IntArray", "all_occur"]


def all_occur(index: NDArray[Any], number: int) -> bool:
    """Say whether every number below another one occurs."""
    return bool(np.bincount(index, minlength=number).all())
