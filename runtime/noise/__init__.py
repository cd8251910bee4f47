"""Perturbation directions, keyed so that they do not depend on the cut, and the forward passes that use them."""

from __future__ import annotations

from runtime.noise.descent import descend, estimated_gradient
from runtime.noise.directions import NoiseKey
from runtime.noise.forward_mode import ForwardMode, tangent_along
from runtime.noise.perturbed import Perturbed
from runtime.noise.rows import Rows, TouchedRows

__all__ = [
    "ForwardMode",
    "NoiseKey",
    "Perturbed",
    "Rows",
    "TouchedRows",
    "descend",
    "estimated_gradient",
    "tangent_along",
]
