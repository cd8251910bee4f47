"""Memory of a split in three parts: the head beside the client part, and the server's middle.

The real head and the real middle are traced; what stands in for the other side gives back shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hybridsplit.profiler.memory.breakdown import MemoryBreakdown, Role
from hybridsplit.profiler.memory.trace import MemoryTrace
from hybridsplit.profiler.models import TracedModel
from hybridsplit.runtime.session.ahead import MEASURED_STEPS
from hybridsplit.runtime.session.head_on_client import HeadOnClient
from hybridsplit.runtime.session.middle import MiddleServer
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.schema import Scenario, Training


@dataclass(frozen=True)
class _Middle:
    """Gives back shapes; what it makes is another machine's memory, which the head's meter leaves out.

    Parameters
    ----------
    like
        Features as shapes.
    """

    like: Tensor
    _asked: list[Tensor] = field(default_factory=list)

    def features(self, h: Tensor, mask_BS: Tensor | None, *, wants_gradient: bool) -> Tensor:
        """Return features."""
        if wants_gradient:
            self._asked.append(_received(h))
        return _received(self.like)

    def gradient(self, of_features: Tensor) -> Tensor | None:
        """Return λ in the shape of the smashed data; None where it was not asked for."""
        return self._asked.pop() if self._asked else None


def watched_head(traced: TracedModel, training: Training, task: str, cut: int, head_blocks: int) -> HeadOnClient:
    """Return the head that a client part is traced with; called while shapes are computed.

    Parameters
    ----------
    traced
        The model as shapes.
    training, task
        Training settings, and the scenario's ``model.loss_kind``.
    cut, head_blocks
        Of the option.
    """
    middle = traced.model.server_part(cut, head_blocks)
    with torch.no_grad():
        below = traced.model.client_part(traced.model.num_blocks - head_blocks)
        features = below(traced.batch.inputs, traced.batch.mask_BS)
    head = traced.model.head_part(head_blocks)
    return HeadOnClient(head, _Middle(features), training, task, middle_trains=middle.num_trainable > 0)


def middle_memory(
    traced: TracedModel, scenario: Scenario, part: Part, smashed: Tensor, trace: MemoryTrace, wants_gradient: bool
) -> MemoryBreakdown:
    """Trace the server's middle; called while shapes are computed.

    Parameters
    ----------
    traced, scenario
        The model as shapes, and training settings.
    part
        The middle.
    smashed
        Smashed data as shapes.
    trace
        The server's memory.
    wants_gradient
        Whether the client needs λ.
    """
    server = MiddleServer(part, scenario.training)
    standing = [*part.parameters(), *part.buffers()]
    trace.track(standing)
    trace.mark(Role.PARAMETERS, standing)
    mask_BS = traced.batch.mask_BS
    trace.track([] if mask_BS is None else [mask_BS])
    is_asked = wants_gradient or part.num_trainable > 0
    for _ in range(min(MEASURED_STEPS, scenario.training.local_steps)):
        held = _received(smashed)
        trace.track([held])
        trace.mark(Role.ACTIVATIONS, [held])
        with trace:
            features = server.features(held, mask_BS, wants_gradient=wants_gradient)
            del held
            came = torch.empty_like(features) if is_asked else None
            del features
            if came is not None:
                server.gradient(came)
        del came
    return trace.breakdown()


def _received(values: Tensor) -> Tensor:
    return torch.empty_like(values, memory_format=torch.contiguous_format)
