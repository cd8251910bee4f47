"""Training modes of the client part, one file each."""

from __future__ import annotations

from collections.abc import Mapping

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult
from hybridsplit.runtime.estimators.fo import FirstOrder
from hybridsplit.runtime.estimators.fo_recompute import FirstOrderRecompute
from hybridsplit.runtime.estimators.frozen import Frozen
from hybridsplit.runtime.estimators.scalar_steps import ScalarStep
from hybridsplit.runtime.estimators.zo_loss import ZerothOrderLoss
from hybridsplit.runtime.estimators.zo_projection import ZerothOrderProjection
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Training

ESTIMATORS: Mapping[Mode, type[GradientEstimator]] = {
    estimator.mode: estimator
    for estimator in (FirstOrder, FirstOrderRecompute, ZerothOrderProjection, ZerothOrderLoss, Frozen)
}


def make_estimator(mode: Mode, part: Part, training: Training, recompute: str = "") -> GradientEstimator:
    """Return the estimator of a mode for a client part.

    Parameters
    ----------
    mode
        The mode.
    part, training
        The client part, and the scenario's training section.
    recompute
        Recompute order of ``fo-recompute``; empty for one kept input per block, and for every other mode.

    Raises
    ------
    ContractError
        If the recompute order does not fit this part, or the mode has none.
    """
    if mode is Mode.FO_RECOMPUTE:
        return FirstOrderRecompute(part, training, recompute)
    if recompute:
        raise ContractError(f"{mode} recomputes nothing, yet a recompute order is given: {recompute[:40]}")
    return ESTIMATORS[mode](part, training)


__all__ = ["ESTIMATORS", "GradientEstimator", "ScalarStep", "StepResult", "make_estimator"]
