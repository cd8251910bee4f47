"""Training modes of the client part: what each is, and what a step of it costs. A new one of ours is a word below.

What carries a mode out stands in :mod:`hybridsplit.runtime.estimators`.
"""

from __future__ import annotations

from hybridsplit.scenarios.modes.base import Asks, Gradient, StepBytes, StepSizes, TrainingMode
from hybridsplit.scenarios.modes.fo import FirstOrderMode
from hybridsplit.scenarios.modes.fo_local import FirstOrderLocalMode
from hybridsplit.scenarios.modes.fo_recompute import FirstOrderRecomputeMode
from hybridsplit.scenarios.modes.frozen import FrozenMode
from hybridsplit.scenarios.modes.registry import MODES, ModeName, is_estimated, is_exact, modes_with
from hybridsplit.scenarios.modes.zo_local import ZerothOrderLocalMode
from hybridsplit.scenarios.modes.zo_loss import ZerothOrderLossMode
from hybridsplit.scenarios.modes.zo_projection import ZerothOrderProjectionMode

# In the order of lists and reports.
for _mode in (
    FirstOrderMode, FirstOrderRecomputeMode, FirstOrderLocalMode, ZerothOrderProjectionMode, ZerothOrderLossMode,
    ZerothOrderLocalMode, FrozenMode,
):  # fmt: skip
    MODES.register(_mode)

__all__ = [
    "MODES", "Asks", "Gradient", "ModeName", "StepBytes", "StepSizes", "TrainingMode", "is_estimated", "is_exact",
    "modes_with",
]  # fmt: skip
