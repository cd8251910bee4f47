"""Rates of dropout and stochastic depth that a model's own code states."""

from __future__ import annotations

from torch import nn


def without_dropout(model: nn.Module) -> None:
    """Set them to zero in all of a model's modules: without them modes compare, and steps repeat.

    Parameters
    ----------
    model
        The whole model; changed.
    """
    for module in model.modules():
        kind = type(module).__name__.lower()
        for name, value in list(vars(module).items()):
            is_rate = isinstance(value, float) and 0 <= value <= 1
            if is_rate and ("drop" in name.lower() or (name == "p" and ("drop" in kind or "depth" in kind))):
                setattr(module, name, 0.0)
