"""What CUDA adds to live tensor bytes, as an explicit model.

Beside the allocator's blocks (:mod:`hybridsplit.profiler.memory.caching_allocator`) and other kernels
(:data:`hybridsplit.profiler.kernels.CUDA_KERNELS`), three things differ from a CPU. Each was found on, and is checked
against, measured peaks (``benchmarks/cuda_memory.py``):

* cuBLAS keeps a workspace for every thread that calls it: one for forward, one for backward.
* A sum over the first dimension (the gradient of a bias) splits long columns over thread blocks, which meet in global
  memory: :func:`column_sum_workspace_bytes`.
* The backward thread keeps the last activation gradient until the next backward begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
_MATRIX_PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}
_THREADS_PER_BLOCK = 512
_WARP = 32
_LEAST_VALUES_PER_THREAD, _MOST_VALUES_PER_THREAD = 16, 256


@dataclass(frozen=True)
class CudaMemory:
    """A CUDA device, as far as its memory is concerned; the defaults are an H200's.

    Parameters
    ----------
    multiprocessors
        Number of streaming multiprocessors.
    threads_per_multiprocessor
        Most threads resident on one.
    cublas_workspace_bytes
        Workspace of each thread that calls cuBLAS: 32 MiB on compute capability 9.0, 8.125 MiB before, by PyTorch's
        defaults.
    workspaces_exist
        True if cuBLAS was called before, so that its workspaces are not counted.
    """

    multiprocessors: int = 132
    threads_per_multiprocessor: int = 2048
    cublas_workspace_bytes: int = 32 << 20
    workspaces_exist: bool = False

    def kernel_workspace_bytes(self, func: Any, args: Sequence[Any]) -> int:
        """Memory that an operator's kernel takes for itself while it runs."""
        if func is aten.sum.dim_IntList and list(args[1]) == [0] and args[0].dim() == 2:
            num_rows, num_columns = args[0].shape
            return column_sum_workspace_bytes(num_rows, num_columns, self)
        return 0

    @staticmethod
    def calls_cublas(func: Any) -> bool:
        """Whether an operator is a matrix product of cuBLAS."""
        return func in _MATRIX_PRODUCTS


def column_sum_workspace_bytes(num_rows: int, num_columns: int, device: CudaMemory) -> int:
    """Global memory in which the thread blocks of a sum over rows meet.

    A thread block covers up to 32 groups of four columns and shares the rows among its other threads. Where every
    thread would still have at least 256 values and the columns leave multiprocessors idle, rows are divided over more
    thread blocks, each of which writes its partial sums in single precision.

    Parameters
    ----------
    num_rows, num_columns
        Shape of what is summed over its rows.
    device
        The device.

    Notes
    -----
    The launch rules are PyTorch's (2.13); the arithmetic reproduces measured peaks of two model widths exactly.
    """
    vector = next(width for width in (4, 2, 1) if num_columns % width == 0)
    groups = num_columns // vector
    threads = _THREADS_PER_BLOCK // vector
    across = min(_power_of_two(groups), _WARP)
    down = min(_power_of_two(num_rows), threads // across)
    across = min(_power_of_two(groups), threads // down)
    values_per_thread = -(-num_rows // down)
    blocks = -(-groups // across)
    resident = device.multiprocessors * (device.threads_per_multiprocessor // (across * down))
    if values_per_thread < _MOST_VALUES_PER_THREAD or blocks > resident:
        return 0
    to_fill_device = -(-resident // blocks)
    to_be_worth_it = -(-values_per_thread // _LEAST_VALUES_PER_THREAD)
    to_be_short = -(-values_per_thread // _MOST_VALUES_PER_THREAD)
    divisions = max(min(to_fill_device, to_be_worth_it), to_be_short)
    return 4 * num_columns * divisions * across * vector if divisions > 1 else 0


def _power_of_two(number: int) -> int:
    """The largest power of two that is no larger."""
    return 1 << (number.bit_length() - 1)


def bytes_of(value: object) -> int:
    """Bytes of a tensor, 0 for anything else."""
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
