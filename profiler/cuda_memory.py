"""What decides memory on a CUDA device beside live tensors."""

from __future__ import annotations

from dataclasses import dataclass


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
        True if cuBLAS was called before, so that its workspaces are not part of what is asked.
    """

    multiprocessors: int = 132
    threads_per_multiprocessor: int = 2048
    cublas_workspace_bytes: int = 32 << 20
    workspaces_exist: bool = False
