"""Training modes of the client part, one file each."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.estimators.base import GradientEstimator, ScalarStep, StepResult
from runtime.estimators.fo import FirstOrder
from runtime.estimators.fo_recompute import FirstOrderRecompute
from runtime.estimators.frozen import Frozen
from runtime.estimators.zo_loss import ZerothOrderLoss
from runtime.estimators.zo_projection import ZerothOrderProjection
from scenarios.contracts.modes import Mode

ESTIMATORS: Mapping[Mode, type[GradientEstimator]] = {
    estimator.mode: estimator
    for estimator in (FirstOrder, FirstOrderRecompute, ZerothOrderProjection, ZerothOrderLoss, Frozen)
}

__all__ = ["ESTIMATORS", "GradientEstimator", "ScalarStep", "StepResult"]
