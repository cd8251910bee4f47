"""Follow every storage of a training step from birth to end, and say what the peak consists of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.memory.breakdown import MemoryBreakdown, Role
from hybridsplit.profiler.memory.caching_allocator import CachingAllocator
from hybridsplit.profiler.memory.cuda import bytes_of, calls_cublas, kernel_workspace_bytes
from hybridsplit.runtime.split.live_bytes import LiveBytes


class MemoryTrace(LiveBytes):
    """Counts live bytes on the device that is meant, and by role.

    Otherwise as :class:`~hybridsplit.runtime.split.live_bytes.LiveBytes` does.

    Parameters
    ----------
    cuda
        The CUDA device that is meant; None for live tensor bytes, which is what a run on a CPU measures.
    """

    def __init__(self, cuda: CudaMemory | None = None) -> None:
        super().__init__()
        self._cuda = cuda
        self._allocator = CachingAllocator()
        self._events: list[tuple[int, int]] = []
        self._peak_from = 0
        self._births = 0
        self._birth_of: dict[int, int] = {}
        self._role_of: dict[int, Role] = {}
        self._in_backward = False
        self._has_workspace: set[bool] = set()
        self._last_gradient_bytes = 0
        self._retained: Any = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._paused:
            return func(*args, **(kwargs or {}))
        node = torch._C._current_autograd_node()
        if node is not None and not self._in_backward:  # type: ignore[redundant-expr]  # None outside backward
            self.mark_everything_else(Role.ACTIVATIONS)
        self._in_backward = node is not None
        if self._cuda is None:
            return super().__torch_dispatch__(func, types, args, kwargs)
        self._retain_last_gradient(node, args)
        if calls_cublas(func):
            self._workspace_of_thread()
        result = func(*args, **(kwargs or {}))
        self._count_results(func, result)
        workspace_bytes = kernel_workspace_bytes(func, args, self._cuda)
        if workspace_bytes:
            self._freed(self._take(workspace_bytes, Role.WORKSPACE))
        return result

    def breakdown(self) -> MemoryBreakdown:
        """Return what the peak consisted of."""
        live_bytes, peak_bytes, at = 0, 0, 0
        for position, (_, change_bytes) in enumerate(self._events):
            live_bytes += change_bytes
            if position + 1 >= self._peak_from and live_bytes > peak_bytes:
                peak_bytes, at = live_bytes, position + 1
        by_birth: Counter[int] = Counter()
        for birth, change_bytes in self._events[:at]:
            by_birth[birth] += change_bytes
        by_role: Counter[str] = Counter()
        for birth, size_bytes in by_birth.items():
            by_role[self._role_of.get(birth, Role.TEMPORARIES)] += size_bytes
        return MemoryBreakdown(**{role: by_role[role] for role in Role})

    def start_peak_afresh(self) -> None:
        """Forget the peak so far; what is live stays."""
        self.peak_bytes = self.live_bytes
        self._peak_from = len(self._events)

    def mark(self, role: Role, tensors: Iterable[Tensor]) -> None:
        """Say what tensors that are counted are for."""
        for tensor in tensors:
            birth = self._birth_of.get(id(tensor.untyped_storage()))
            if birth is not None:
                self._role_of[birth] = role

    def mark_everything_else(self, role: Role) -> None:
        """Say what all live storages without a role are for."""
        for birth in self._birth_of.values():
            self._role_of.setdefault(birth, role)

    @contextmanager
    def watching(self, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        """Within it, gradients of parameters and what optimizers keep are recognised."""

        def on_gradient(parameter: Tensor) -> None:
            if parameter.grad is not None:
                self.mark(Role.GRADIENTS, [parameter.grad])

        def on_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            states = optimizer.state.values()
            self.mark(Role.OPTIMIZER_STATE, (v for state in states for v in state.values() if isinstance(v, Tensor)))

        handles = [
            parameter.register_post_accumulate_grad_hook(on_gradient)  # type: ignore[no-untyped-call]
            for parameter in parameters
            if parameter.requires_grad
        ]
        handles.append(register_optimizer_step_post_hook(on_step))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _born(self, key: int, size_bytes: int) -> Any:
        taken = self._take(size_bytes)
        self._birth_of[key] = taken[0]
        return (*taken, key)

    def _freed(self, block: Any) -> None:
        birth, size_bytes, piece, *key = block
        if key and self._birth_of.get(key[0]) == birth:
            del self._birth_of[key[0]]
        if self._cuda is not None:
            self._allocator.release(piece)
        self._events.append((birth, -size_bytes))
        self.live_bytes -= size_bytes

    def _take(self, size_bytes: int, role: Role | None = None) -> tuple[int, int, Any]:
        piece = None
        if self._cuda is not None:
            piece = self._allocator.allocate(size_bytes)
            size_bytes = piece.size_bytes if piece is not None else 0
        self._births += 1
        if role is not None:
            self._role_of[self._births] = role
        self._events.append((self._births, size_bytes))
        self.live_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return self._births, size_bytes, piece

    def _workspace_of_thread(self) -> None:
        """The first product of a thread takes a workspace and keeps it; backward has a thread of its own."""
        assert self._cuda is not None
        if self._in_backward not in self._has_workspace and not self._cuda.workspaces_exist:
            self._take(self._cuda.cublas_workspace_bytes, Role.WORKSPACE)
        self._has_workspace.add(self._in_backward)

    def _retain_last_gradient(self, node: Any, args: Any) -> None:
        """Keep the last activation gradient from the end of a backward to the beginning of the next."""
        if node is None:
            if self._last_gradient_bytes:
                self._retained = self._take(self._last_gradient_bytes)
                self._last_gradient_bytes = 0
            return
        if self._retained is not None:
            self._freed(self._retained)
            self._retained = None
        if "AccumulateGrad" not in node.name() and args:
            self._last_gradient_bytes = bytes_of(args[0])
