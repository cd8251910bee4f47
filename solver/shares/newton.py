"""Small symmetric systems of Newton steps, solved without giving up on a singular one."""

from __future__ import annotations

import numpy as np

from hybridsplit.solver.problem.arrays import FloatArray

_RELATIVE_RANK = 1e-14


def solve_symmetric(system: FloatArray, right: FloatArray) -> FloatArray:
    """Solve ``system @ x = right``; where the system is singular to rounding, take the shortest least-squares solution.

    Parameters
    ----------
    system
        [..., n, n] symmetric matrices, finite.
    right
        [..., n] right sides.

    Returns
    -------
    FloatArray
        [..., n] solutions. Any step is admissible to the callers: they search along it and keep only what improves.
    """
    try:
        return np.asarray(np.linalg.solve(system, right[..., None])[..., 0])
    except np.linalg.LinAlgError:
        inverse = np.linalg.pinv(system, rcond=_RELATIVE_RANK, hermitian=True)
        return np.asarray((inverse @ right[..., None])[..., 0])
