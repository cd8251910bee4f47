"""Peak memory of the client part, predicted without allocating it.

The real training mode is traced on fake tensors for its first two steps (in the first the optimizer's state is born,
in the second it is there from the start), while :class:`~runtime.live_bytes.LiveBytes` counts live storages:
parameters, gradients, optimizer state, activations and temporaries, as the allocator would hold them. The trace uses
the CPU's kernels; another device's attention kernel may keep a few per cent more or less.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from profiler.attention import cpu_attention
from profiler.models import TracedModel
from profiler.shapes import shapes_only
from runtime.client import MEASURED_STEPS, run_step
from runtime.estimators import ESTIMATORS
from runtime.live_bytes import LiveBytes
from runtime.noise import NoiseKey
from runtime.server import ServerSide
from runtime.wire import Batch
from scenarios.contracts.modes import Mode
from scenarios.errors import ProfileError
from scenarios.schema import Scenario

_TRACED_DIRECTIONS = 2
"""Directions are probed one after another and hold the same memory; two show what the first leaves behind."""


@dataclass(frozen=True)
class RemoteServer:
    """Stands in for the server part and gives back shapes."""

    def begin_step(self) -> None:
        """Nothing is kept between requests."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Return a gradient in the shape of ``h``, which the client does hold."""
        return (torch.empty_like(h) if wants_gradient else None), 0.0

    def probe(self, h: Tensor, batch: Batch) -> Tensor:
        """Return a scalar."""
        return torch.empty((), dtype=torch.float32)

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars."""
        return scalars_P

    @property
    def trains_server(self) -> bool:
        """True: there is a server part."""
        return True


def client_peak_bytes(traced: TracedModel, scenario: Scenario, cut: int, mode: Mode) -> int:
    """Predict the peak of live tensor bytes of a client part.

    Parameters
    ----------
    traced
        The model on fake tensors.
    scenario
        Training settings.
    cut, mode
        The option.

    Raises
    ------
    ProfileError
        If the mode cannot be traced on this model.
    """
    training = scenario.training
    fewer = min(training.zeroth_order.directions, _TRACED_DIRECTIONS)
    training = training.model_copy(
        update={"zeroth_order": training.zeroth_order.model_copy(update={"directions": fewer})}
    )
    with shapes_only(cpu_attention, traced.memo):
        part = traced.model.client_part(cut)
        meter = LiveBytes()
        on_device = cut == traced.model.num_blocks
        link = ServerSide(traced.model.server_part(cut), training, scenario.model.task) if on_device else RemoteServer()
        estimator = ESTIMATORS[mode](part, training)
        try:
            for step in range(min(MEASURED_STEPS, training.local_steps)):
                batch = copy.copy(traced.batch)
                run_step(estimator, batch, link, NoiseKey(0, "client", "", 0, step), meter)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            raise ProfileError(
                f"cut {cut}, {mode}: the mode cannot be traced on this model ({str(error).splitlines()[0]}); "
                "remove it from training.modes, or report the model"
            ) from error
        finally:
            estimator.close()
            for parameter in part.parameters():
                parameter.grad = None
    return meter.peak_bytes
