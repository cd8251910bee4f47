"""Dual feasible functions: what sizes may count for, so that sets that fit within 1 still count for no more than 1.

Two frames that each keep a unit busy for more than half a period cannot share it, though a relaxation that halves both
lets them. Counting every size by a dual feasible function forbids that: with one function per row, the rows cut off
such mixtures, and no choice of whole plans (Fekete and Schepers, New classes of fast lower bounds for bin packing
problems, 2001). The functions here are ``floor((k + 1) x) / k``, without the exception at whole numbers, which would be
at the mercy of rounding: k = 1 counts sizes above a half, k = 2 those above a third and two thirds.
"""

from __future__ import annotations

import numpy as np

from hybridsplit.scenarios.contracts.virtual_space import FloatArray

ORDERS = (1, 2)
"""The functions in use; further ones raised no bound of the instances of ``benchmarks/virtual_space.py``."""
NUM_FUNCTIONS = 1 + len(ORDERS)
"""The size itself, and one function for each order."""
_ROUNDING = 1e-9


def counted_sizes(sizes: FloatArray) -> FloatArray:
    """Return what sizes count for by every function: [F, ...], the size itself first.

    Parameters
    ----------
    sizes
        [...] shares of what there is; infinite ones count as 0, since they are forbidden elsewhere.
    """
    finite = np.where(np.isfinite(sizes), sizes, 0.0)
    counts = (np.floor((order + 1) * finite - _ROUNDING).clip(0.0, order) / order for order in ORDERS)
    return np.stack([finite, *counts])
