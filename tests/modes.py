"""Names of modes by what they are, for parameters of tests."""

from __future__ import annotations

from hybridsplit.scenarios.modes import MODES, Gradient, modes_with

EXACT_MODES = frozenset(modes_with(Gradient.EXACT))
ZEROTH_ORDER_MODES = frozenset(name for name in modes_with(Gradient.ESTIMATED) if not MODES[name].has_local_head)
"""Modes that estimate the gradient of the model's loss; a local loss has tests of its own."""
MODEL_LOSS_MODES = tuple(name for name, mode in MODES.items() if not mode.has_local_head)
"""Modes that are trained by the loss of the model, and exist whatever shape crosses the cut."""
LOCAL_MODES = frozenset(name for name, mode in MODES.items() if mode.runs_whole_model)
"""Modes that exist with the whole model on the device."""
