"""Names of modes by what they are, for parameters of tests."""

from __future__ import annotations

from hybridsplit.scenarios.modes import MODES, Gradient, modes_with

EXACT_MODES = frozenset(modes_with(Gradient.EXACT))
ZEROTH_ORDER_MODES = frozenset(modes_with(Gradient.ESTIMATED))
LOCAL_MODES = frozenset(name for name, mode in MODES.items() if mode.runs_whole_model)
"""Modes that exist with the whole model on the device."""
