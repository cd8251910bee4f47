"""Perturbation directions, keyed so that they do not depend on the cut, and the forward passes that use them."""

from __future__ import annotations

from hybridsplit.runtime.noise.descent import descend, estimated_gradient
from hybridsplit.runtime.noise.directions import NoiseKey
from hybridsplit.runtime.noise.forward_mode import ForwardMode, tangent_along
from hybridsplit.runtime.noise.perturbed import Perturbed
from hybridsplit.runtime.noise.touched_rows import Rows, TouchedRows

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
