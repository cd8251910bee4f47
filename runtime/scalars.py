"""Move a few numbers from a tensor to the host."""

from __future__ import annotations

from torch import Tensor


def host_floats(values: Tensor) -> list[float]:
    """Return the values of a small tensor; NaN on the meta device, which has shapes but no values."""
    if values.is_meta:
        return [float("nan")] * values.numel()
    return [float(value) for value in values.detach().flatten().tolist()]
