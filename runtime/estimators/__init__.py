"""Training modes of the client part, one file each."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from hybridsplit.runtime.estimators.base import GradientEstimator, StepResult, ZerothOrderEstimator
from hybridsplit.runtime.estimators.scalar_steps import ScalarStep
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes import MODES, TrainingMode
from hybridsplit.scenarios.schema import Training


def make_estimator(
    mode: str, part: Part, training: Training, recompute: str = "", upload_every: int = 1
) -> GradientEstimator:
    """Return the estimator of a mode for a client part.

    Parameters
    ----------
    mode
        The mode.
    part, training
        The client part, and the scenario's training section.
    recompute
        Recompute order of ``fo-recompute``; empty for one kept input per block, and for every other mode.
    upload_every
        Steps from one upload of smashed data to the next, of modes with a local loss; 1 for all others.

    Raises
    ------
    ContractError
        If the recompute order does not fit this part, the mode has none, or it cannot go on without the server.
    """
    facts = MODES[mode]
    if recompute and not facts.has_recompute_orders:
        raise ContractError(f"{mode} recomputes nothing, yet a recompute order is given: {recompute[:40]}")
    if upload_every > 1 and not facts.has_local_head:
        raise ContractError(f"{mode} needs the server in every step, yet it is to send every {upload_every} steps only")
    kind = estimator_of(facts)
    if facts.has_local_head:
        return kind(part, training, upload_every)
    return kind(part, training, recompute) if facts.has_recompute_orders else kind(part, training)


def estimator_of(mode: TrainingMode) -> Callable[..., GradientEstimator]:
    """Return the class that carries a mode out, imported now.

    Raises
    ------
    ContractError
        If the mode names no such class.
    """
    module, _, name = mode.estimator.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ContractError(f"the training mode {mode.name!r} names the estimator {mode.estimator}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, GradientEstimator)):
        raise ContractError(f"the training mode {mode.name!r} names {mode.estimator}, which is no GradientEstimator")
    return found


__all__ = ["GradientEstimator", "ScalarStep", "StepResult", "ZerothOrderEstimator", "make_estimator"]
