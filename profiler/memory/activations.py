"""A tensor between two blocks, as far as memory and shapes depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_META = torch.device("meta")


@dataclass(frozen=True)
class Activation:
    """Shape, strides and storage of a tensor.

    Parameters
    ----------
    shape, stride, dtype, offset
        As PyTorch's.
    storage_bytes
        Bytes of its storage, which may hold more than the tensor.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    offset: int
    storage_bytes: int

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Describe a tensor."""
        return cls(
            tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, int(tensor.storage_offset()),
            tensor.untyped_storage().nbytes(),
        )  # fmt: skip

    @classmethod
    def as_received(cls, tensor: Activation) -> Self:
        """Describe a tensor as it arrives over a link: in row-major order, in memory of its own size."""
        return cls.of(torch.empty(tensor.shape, dtype=tensor.dtype, device=_META))

    @property
    def is_as_received(self) -> bool:
        """Whether sending would change nothing."""
        return self == Activation.as_received(self)

    def make(self) -> Tensor:
        """Return a new tensor of this shape and these strides; it is no view."""
        reach = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True)) + 1
        num_entries = 0 if 0 in self.shape else reach
        if self.offset == 0 and num_entries * self.dtype.itemsize == self.storage_bytes:
            return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=_META)
        whole = torch.empty(self.storage_bytes, dtype=torch.uint8, device=_META)
        return torch.empty(0, dtype=self.dtype, device=_META).set_(
            whole.untyped_storage(), self.offset, self.shape, self.stride
        )
