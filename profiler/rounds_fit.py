"""Fit the constants of the model of rounds to a target to pilot runs, by non-negative least squares.

``R = rounds / (1 - Σ constant · term)`` is ``rounds / R + Σ constant · term = 1``, linear in the constants
(docs/methods/progress.md). A pilot that did not reach the target within its rounds says that the left side is at least
1 there, which is convex as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.sections.pilot import CONSTANTS

FloatArray = NDArray[np.float64]

_SAME = 1e-6
"""Relative range within which a term is the same in all pilots, so that they say nothing about its constant."""
_NOTHING = 1e-4
"""Largest part of the way that a constant takes away in any pilot and counts as nothing."""
_FEWEST = 3
"""Pilots that must have reached the target."""
SHRINKAGE = 0.1
"""Price of the square of the part of the way that a constant takes away at most: few pilots leave directions open, and
what they leave open is small. Chosen among 0 to 0.3 by the held-out errors of quickstart's pilots, where 0.1 and 0.3
were about as good."""


@dataclass(frozen=True)
class Observation:
    """What one pilot was, and when it reached the target.

    Parameters
    ----------
    terms
        [5] sums over its clients, in the order of :data:`hybridsplit.scenarios.sections.pilot.CONSTANTS`.
    rounds
        Rounds to the target; infinite if it was not reached.
    rounds_run
        Rounds that it ran.
    is_check
        Whether it is left out of the fit by which the error is taken.
    """

    terms: tuple[float, ...]
    rounds: float
    rounds_run: int
    is_check: bool = False


@dataclass(frozen=True)
class RoundsModel:
    """Fitted constants.

    Parameters
    ----------
    rounds
        Rounds with nothing in the way.
    constants
        [5] of the terms.
    not_identified
        Names of the constants that the pilots say nothing about.
    """

    rounds: float
    constants: tuple[float, ...]
    not_identified: tuple[str, ...]

    def predict(self, terms: Sequence[float]) -> float:
        """Rounds to the target of a plan with these terms ([5]); infinite where they take all of the way away."""
        left = 1.0 - math.fsum(constant * term for constant, term in zip(self.constants, terms, strict=True))
        return self.rounds / left if left > 0 else math.inf


def fit_rounds(observations: Sequence[Observation], shrinkage: float = SHRINKAGE) -> RoundsModel:
    """Fit the constants.

    Parameters
    ----------
    observations
        The pilots.
    shrinkage
        Price of large constants; 0 for plain least squares.

    Raises
    ------
    ProfileError
        If fewer than three reached the target.
    """
    reached = np.array([math.isfinite(one.rounds) for one in observations])
    if reached.sum() < _FEWEST:
        raise ProfileError(
            f"the pilots give no constants: found {len(observations)} pilots, of which {int(reached.sum())} reached "
            f"the target; needs {_FEWEST} that reach it: raise --pilots or --rounds, or lower the target"
        )
    terms = np.array([one.terms for one in observations])
    largest = terms.max(axis=0)
    varies = np.ptp(terms, axis=0) > _SAME * np.maximum(largest, np.finfo(float).tiny)
    inverse = np.array([1.0 / (one.rounds if math.isfinite(one.rounds) else one.rounds_run) for one in observations])
    unit = float(inverse.max())
    matrix = np.column_stack([inverse / unit, terms[:, varies] / largest[varies]])
    solved = _least_squares(matrix, reached, shrinkage)
    scaled = np.zeros(len(CONSTANTS))
    scaled[varies] = np.where(solved[1:] > _NOTHING, solved[1:], 0.0)
    constants = np.where(scaled > 0, scaled / np.maximum(largest, np.finfo(float).tiny), 0.0)
    unknown = tuple(name for name, known in zip(CONSTANTS, scaled > 0, strict=True) if not known)
    return RoundsModel(max(float(solved[0]) / unit, np.finfo(float).eps), tuple(constants.tolist()), unknown)


def held_out_error(observations: Sequence[Observation]) -> float | None:
    """Median relative error of the rounds of the checks, predicted from the other pilots.

    Parameters
    ----------
    observations
        The pilots. Checks that did not reach the target have no rounds to be compared with.

    Returns
    -------
    float or None
        None where no check reached the target, the others give no constants, or half of the checks were predicted
        never to reach it.
    """
    checks = [one for one in observations if one.is_check and math.isfinite(one.rounds)]
    try:
        model = fit_rounds([one for one in observations if not one.is_check])
    except ProfileError:
        return None
    errors = [abs(model.predict(one.terms) - one.rounds) / one.rounds for one in checks]
    found = float(np.median(errors)) if errors else math.inf
    return found if math.isfinite(found) else None


def _least_squares(matrix: FloatArray, reached: NDArray[np.bool_], shrinkage: float) -> FloatArray:
    """Non-negative solution of ``matrix · x = 1`` where the target was reached, and of ``≥ 1`` where it was not."""
    import cvxpy as cp  # late: half a second, and no plan needs it here

    x = cp.Variable(matrix.shape[1], nonneg=True)
    cost = cp.sum_squares(matrix[reached] @ x - 1.0)
    if not reached.all():
        cost += cp.sum_squares(cp.pos(1.0 - matrix[~reached] @ x))
    if shrinkage > 0 and matrix.shape[1] > 1:
        cost += shrinkage * cp.sum_squares(x[1:])
    problem = cp.Problem(cp.Minimize(cost))
    problem.solve(solver=cp.CLARABEL)
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or x.value is None:
        raise ProfileError(f"the fit of the constants ended as {problem.status!r}; run more pilots")
    found: FloatArray = np.maximum(np.asarray(x.value, dtype=float), 0.0)
    return found
