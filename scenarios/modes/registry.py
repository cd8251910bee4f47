"""All training modes by name, ours and those of installed packages."""

from __future__ import annotations

from typing import Annotated

from hybridsplit.scenarios.modes.base import Asks, Gradient, TrainingMode
from hybridsplit.scenarios.registered import OneName
from hybridsplit.scenarios.registry import Registry


def _name_of(mode: TrainingMode) -> str:
    if not isinstance(mode, TrainingMode):
        raise TypeError("it does not derive from hybridsplit.plugins.TrainingMode")
    if mode.gradient not in Gradient or mode.asks not in Asks or ":" not in mode.estimator:
        raise TypeError("its class needs a gradient, what it asks of the server, and an estimator 'module:Class'")
    return mode.name


MODES: Registry[TrainingMode] = Registry("training mode", "hybridsplit.modes", _name_of)
"""Name to mode, in the order of lists and reports."""


def modes_with(*gradients: Gradient) -> tuple[str, ...]:
    """Return the names of all modes with one of the given kinds of gradient."""
    return tuple(name for name, mode in MODES.items() if mode.gradient in gradients)


def is_exact(mode: str) -> bool:
    """Whether a mode moves the client part along exact gradients."""
    return MODES[mode].gradient is Gradient.EXACT


def is_estimated(mode: str) -> bool:
    """Whether a mode moves the client part along estimated gradients."""
    return MODES[mode].gradient is Gradient.ESTIMATED


ModeName = Annotated[str, OneName(MODES)]
"""Name of a registered mode."""
