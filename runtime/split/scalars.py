"""Sums in enough precision, and a few numbers moved to the host."""

from __future__ import annotations

import torch
from torch import Tensor


def host_floats(values: Tensor) -> list[float]:
    """Return the values of a small tensor; NaN on the meta device, which has shapes but no values."""
    if values.is_meta:
        return [float("nan")] * values.numel()
    return [float(value) for value in values.detach().flatten().tolist()]


def widened(values: Tensor) -> Tensor:
    """Return half-precision values in single precision, for sums; all others as they are. The shape stays."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
