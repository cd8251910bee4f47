"""Move a few numbers from a tensor to the host."""

from __future__ import annotations

from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def host_floats(values: Tensor) -> list[float]:
    """Return the values of a small tensor; NaN for fake tensors, which have shapes but no values."""
    if isinstance(values, FakeTensor):
        return [float("nan")] * values.numel()
    return [float(value) for value in values.detach().flatten().tolist()]
