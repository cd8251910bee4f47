"""Fit the constants of the model of rounds to a target to pilot runs, by how many times off predictions are.

``R = rounds · (1 + Σ constant · term)`` is linear in ``rounds`` and its products with the constants. With ``x`` the
ratio of rounds predicted to rounds seen, ``x + 1/x - 2`` is convex, the same for twice too many rounds as for half of
them, and ``(log x)²`` near 1 (docs/methods/progress.md). A pilot that did not reach the target within its rounds says
that ``x`` is at least 1 there, which is convex as well.
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
"""Largest share of ``rounds`` that a constant adds in any pilot and that counts as nothing."""
_LEAST = 0.05
"""Least share of the mean rounds of the pilots that is left with nothing in the way."""
_FEWEST = 3
"""Pilots that must have reached the target."""
SHRINKAGE = 0.3
"""Price of the square of what a constant adds at most, over the mean rounds of the pilots: few pilots leave directions
open, and what they leave open is small. Of 0 to 0.3, the best on digits."""


@dataclass(frozen=True)
class Observation:
    """What one run of a pilot was, and when it reached the target.

    Parameters
    ----------
    terms
        [7] sums over its clients, in the order of :data:`hybridsplit.scenarios.sections.pilot.CONSTANTS`.
    rounds
        Rounds to the target; infinite if it was not reached.
    rounds_run
        Rounds that it ran.
    is_check
        Whether it is left out of the fit by which the error is taken.
    pilot
        Which pilot: runs of one at several seeds are compared by the mean of their logarithms.
    """

    terms: tuple[float, ...]
    rounds: float
    rounds_run: int
    is_check: bool = False
    pilot: int | None = None


@dataclass(frozen=True)
class RoundsModel:
    """Fitted constants.

    Parameters
    ----------
    rounds
        Rounds with nothing in the way.
    constants
        [7] of the terms.
    not_identified
        Names of the constants that the pilots say nothing about.
    """

    rounds: float
    constants: tuple[float, ...]
    not_identified: tuple[str, ...]

    def predict(self, terms: Sequence[float]) -> float:
        """Rounds to the target of a plan with these terms ([7])."""
        return self.rounds * (1.0 + math.fsum(c * term for c, term in zip(self.constants, terms, strict=True)))


def fit_rounds(observations: Sequence[Observation], shrinkage: float = SHRINKAGE) -> RoundsModel:
    """Fit the constants.

    Parameters
    ----------
    observations
        The runs of the pilots.
    shrinkage
        Price of large constants; 0 for none.

    Raises
    ------
    ProfileError
        If fewer than three runs reached the target.
    """
    reached = np.array([math.isfinite(one.rounds) for one in observations])
    if reached.sum() < _FEWEST:
        raise ProfileError(
            f"the pilots give no constants: found {len(observations)} pilots, of which {int(reached.sum())} reached "
            f"the target; needs {_FEWEST} that reach it: raise --pilots or --rounds, or lower the target"
        )
    terms = np.array([one.terms for one in observations])
    largest = np.maximum(terms.max(axis=0), np.finfo(float).tiny)
    varies = np.ptp(terms, axis=0) > _SAME * largest
    seen = np.array([one.rounds if math.isfinite(one.rounds) else one.rounds_run for one in observations])
    unit = float(np.exp(np.log(seen[reached]).mean()))
    # [runs, 1 + terms]: with what every term adds at most as unknowns, the ratio of rounds predicted to rounds seen.
    matrix = (unit / seen)[:, None] * np.column_stack([np.ones(len(seen)), terms[:, varies] / largest[varies]])
    solved = _least_ratios(matrix, reached, shrinkage)
    scaled = np.zeros(len(CONSTANTS))
    scaled[varies] = solved[1:] / solved[0]
    scaled = np.where(scaled > _NOTHING, scaled, 0.0)
    unknown = tuple(name for name, known in zip(CONSTANTS, scaled > 0, strict=True) if not known)
    return RoundsModel(unit * float(solved[0]), tuple((scaled / largest).tolist()), unknown)


def held_out_error(observations: Sequence[Observation]) -> float | None:
    """Median relative error of the rounds of the checks, predicted from the other pilots.

    Parameters
    ----------
    observations
        The runs of the pilots. Checks of which no run reached the target have no rounds to be compared with.

    Returns
    -------
    float or None
        None where no check reached the target, or the others give no constants.
    """
    try:
        model = fit_rounds([one for one in observations if not one.is_check])
    except ProfileError:
        return None
    ratios: dict[object, list[float]] = {}
    for place, one in enumerate(observations):
        if one.is_check and math.isfinite(one.rounds):
            ratio = math.log(model.predict(one.terms) / one.rounds)
            ratios.setdefault(("run", place) if one.pilot is None else one.pilot, []).append(ratio)
    errors = [abs(math.expm1(sum(each) / len(each))) for each in ratios.values()]
    return float(np.median(errors)) if errors else None


def _least_ratios(matrix: FloatArray, reached: NDArray[np.bool_], shrinkage: float) -> FloatArray:
    """Non-negative ``v`` whose ratios ``matrix · v`` are nearest 1, and at least 1 where the target was not reached."""
    import cvxpy as cp  # late: half a second, and no plan needs it here

    v = cp.Variable(matrix.shape[1], nonneg=True)
    ratio = matrix[reached] @ v
    cost = cp.sum(ratio + cp.inv_pos(ratio) - 2.0)
    if not reached.all():
        cost += cp.sum_squares(cp.pos(1.0 - matrix[~reached] @ v))
    if shrinkage > 0 and matrix.shape[1] > 1:
        cost += shrinkage * cp.sum_squares(v[1:])
    problem = cp.Problem(cp.Minimize(cost), [v[0] >= _LEAST])
    problem.solve(solver=cp.CLARABEL)
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or v.value is None:
        raise ProfileError(f"the fit of the constants ended as {problem.status!r}; run more pilots")
    found: FloatArray = np.maximum(np.asarray(v.value, dtype=float), 0.0)
    return found
