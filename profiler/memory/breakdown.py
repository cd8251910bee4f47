"""What the memory of a part holds at its peak."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum


class Role(StrEnum):
    """What a piece of memory is for."""

    PARAMETERS = "parameters"
    """Parameters and buffers, frozen ones too."""
    GRADIENTS = "gradients"
    """Gradients of parameters."""
    OPTIMIZER_STATE = "optimizer_state"
    """What the optimizer keeps between steps."""
    ACTIVATIONS = "activations"
    """The batch, and what is kept while the other side works: saved activations or block inputs, and λ."""
    TEMPORARIES = "temporaries"
    """Everything else that has a tensor."""
    WORKSPACE = "workspace"
    """Memory that kernels take for themselves; nothing on a CPU."""


@dataclass(frozen=True)
class MemoryBreakdown:
    """Bytes at the moment of the peak, by role."""

    parameters: int = 0
    gradients: int = 0
    optimizer_state: int = 0
    activations: int = 0
    temporaries: int = 0
    workspace: int = 0

    @property
    def peak_bytes(self) -> int:
        """The peak: all roles together."""
        return sum(getattr(self, field.name) for field in fields(self))
