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
from typing import Any

import torch
from torch import Tensor

from hybridsplit.profiler.cuda_memory import CudaMemory

aten = torch.ops.aten
_MATRIX_PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}
_THREADS_PER_BLOCK = 512
_WARP = 32
_LEAST_VALUES_PER_THREAD, _MOST_VALUES_PER_THREAD = 16, 256


def kernel_workspace_bytes(func: Any, args: Sequence[Any], device: CudaMemory) -> int:
    """Memory that an operator's kernel takes for itself while it runs.

    Parameters
    ----------
    func, args
        The operator and its arguments.
    device
        The CUDA device.
    """
    if func is aten.sum.dim_IntList and list(args[1]) == [0] and args[0].dim() == 2:
        num_rows, num_columns = args[0].shape
        return column_sum_workspace_bytes(num_rows, num_columns, device)
    return 0


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
