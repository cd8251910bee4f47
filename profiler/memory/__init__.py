"""Peak memory of either part of a split model, predicted without allocating it.

The real training mode runs on shapes for its first two steps while :class:`~profiler.memory.trace.MemoryTrace` follows
every storage from birth to end: live tensor bytes for a CPU, blocks of the caching allocator and the workspaces of
kernels for CUDA. What differs between devices is in :mod:`profiler.memory.cuda`.
"""

from profiler.memory.blocks import ChainMemory, chain_memory
from profiler.memory.breakdown import MemoryBreakdown, Role
from profiler.memory.composition import homogeneous_runs, peaks_of_run
from profiler.memory.cuda import CudaMemory
from profiler.memory.parts import client_memory, server_memory
from profiler.memory.trace import MemoryTrace

__all__ = [
    "ChainMemory",
    "CudaMemory",
    "MemoryBreakdown",
    "MemoryTrace",
    "Role",
    "chain_memory",
    "client_memory",
    "homogeneous_runs",
    "peaks_of_run",
    "server_memory",
]
