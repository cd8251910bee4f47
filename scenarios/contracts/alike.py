"""Which rows of a table are equal: what holds for one of them holds for all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def alike(columns: Iterable[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find equal rows, to the last bit.

    Parameters
    ----------
    columns
        Numbers or truth values, each [N]; at least one.

    Returns
    -------
    The first row of every kind, rising ([C]), and the kind of every row ([N]).
    """
    rows = np.stack([_bits(column) for column in columns])
    _, first, kind = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order].astype(np.int64), np.argsort(order)[np.ravel(kind)].astype(np.int64)


def _bits(column: NDArray[Any]) -> NDArray[np.int64]:
    if column.dtype.kind != "f":
        return column.astype(np.int64)
    # An absent figure is one NaN, whatever its bits.
    return np.where(np.isnan(column), np.nan, column.astype(float)).view(np.int64)
