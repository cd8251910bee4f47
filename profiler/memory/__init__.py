"""Peak memory of either part of a split model, predicted without allocating it.

The real training mode runs on shapes for its first two steps while
:class:`~hybridsplit.profiler.memory.trace.MemoryTrace` follows every storage from birth to end: live tensor bytes for
a CPU, blocks of the caching allocator and the workspaces of kernels for CUDA. What differs between devices is in
:mod:`hybridsplit.profiler.memory.cuda`.
"""

from hybridsplit.profiler.memory.blocks import ChainMemory, chain_memory
from hybridsplit.profiler.memory.breakdown import MemoryBreakdown, Role
from hybridsplit.profiler.memory.composition import homogeneous_runs, peaks_of_run
from hybridsplit.profiler.memory.parts import client_memory, server_memory
from hybridsplit.profiler.memory.trace import MemoryTrace

__all__ = [
    "ChainMemory",
    "MemoryBreakdown",
    "MemoryTrace",
    "Role",
    "chain_memory",
    "client_memory",
    "homogeneous_runs",
    "peaks_of_run",
    "server_memory",
]
