"""Peak memory of the client part and of the server part, for every cut and mode."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridsplit.profiler.cuda_memory import CudaMemory
from hybridsplit.profiler.kernels import CPU_KERNELS, CUDA_KERNELS
from hybridsplit.profiler.memory.breakdown import MemoryBreakdown, Role
from hybridsplit.profiler.memory.three_part import middle_memory, watched_head
from hybridsplit.profiler.memory.trace import MemoryTrace
from hybridsplit.profiler.models import TracedModel
from hybridsplit.profiler.profiles import Choice
from hybridsplit.profiler.shapes import shapes_only
from hybridsplit.runtime.estimators import GradientEstimator, make_estimator
from hybridsplit.runtime.estimators.micro_batches import MicroBatchSteps, in_micro_batches
from hybridsplit.runtime.estimators.overlapping import overlapping
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.ahead import MEASURED_STEPS, AheadOfGradients
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.session.steps import run_step
from hybridsplit.runtime.split.link import Batch, ServerLink
from hybridsplit.runtime.split.micro_batches import parts_of
from hybridsplit.runtime.split.parts import Part
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.modes import MODES, Asks
from hybridsplit.scenarios.schema import Scenario, Training, ZerothOrder

_TRACED_DIRECTIONS = 2
"""Directions are probed one after another and hold the same memory; two show what the first leaves behind."""


@dataclass(frozen=True)
class _WatchedLink:
    """Marks in a memory trace what the client keeps while the other side works.

    Parameters
    ----------
    trace
        The client's memory.
    on_device
        What computes the loss where the whole model is on the device; None for a remote server part, which gives back
        shapes.
    """

    trace: MemoryTrace
    on_device: ServerSide | None

    @property
    def trains_server(self) -> bool:
        """Whether there is a server part."""
        return self.on_device is None

    def begin_step(self, key: NoiseKey) -> None:
        """The server part is not traced here."""

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Return a gradient in the shape of ``h``, which the client does hold."""
        self.trace.mark_everything_else(Role.ACTIVATIONS)
        if self.on_device is not None:
            return self.on_device.exact(h, batch, wants_gradient=wants_gradient)
        if not wants_gradient:
            return None, 0.0
        gradient = torch.empty_like(h, memory_format=torch.contiguous_format)
        self.trace.track([gradient])
        self.trace.mark(Role.ACTIVATIONS, [gradient])
        return gradient, 0.0

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Return a loss."""
        self.trace.mark_everything_else(Role.ACTIVATIONS)
        if self.on_device is not None:
            return self.on_device.probe(h, batch)
        return torch.empty((), dtype=torch.float32)

    def exact_kept(self, batch: Batch) -> float:
        """Return a loss; what is kept for it is the server's."""
        return 0.0

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars."""
        return scalars_P


def client_memory(
    traced: TracedModel,
    scenario: Scenario,
    cut: int,
    mode: str,
    recompute: str = "",
    staleness: int = 0,
    cuda: CudaMemory | None = None,
    *,
    head_blocks: int = 0,
    micro_batches: int = 1,
) -> MemoryBreakdown:
    """Predict the peak memory of a client part, and of the head where it is on the client too.

    Parameters
    ----------
    traced
        The model as shapes.
    scenario
        Training settings.
    cut, mode, recompute, staleness
        The option.
    cuda
        The CUDA device that is meant; None for live tensor bytes, as a run on a CPU measures them.
    head_blocks, micro_batches
        Part of the option.

    Raises
    ------
    ProfileError
        If the mode cannot be traced on this model.
    """
    part = traced.model.client_part(cut, mode)
    choice = Choice(cut, mode, recompute, staleness, head_blocks=head_blocks, micro_batches=micro_batches)
    return _traced(part, traced, scenario, choice, cuda).breakdown()


def stand_in_peak_bytes(part: Part, traced: TracedModel, scenario: Scenario, cut: int, mode: str) -> int:
    """Return the peak of live tensor bytes of a mode on a part that stands for a client part.

    Parameters
    ----------
    part
        What stands for blocks ``1..cut``.
    traced, scenario, cut, mode
        As of :func:`client_memory`.

    Raises
    ------
    ProfileError
        If the mode cannot be traced on this model.
    """
    return _traced(part, traced, scenario, Choice(cut, mode), None).peak_bytes


def _traced(
    part: Part, traced: TracedModel, scenario: Scenario, choice: Choice, cuda: CudaMemory | None
) -> MemoryTrace:
    cut, mode, recompute, staleness, head_blocks = (*choice[:4], choice.head_blocks)
    training = fewer_directions(scenario.training)
    trace = MemoryTrace(cuda)
    kernels = CPU_KERNELS if cuda is None else CUDA_KERNELS
    with shapes_only(kernels, traced.memo):
        whole = cut == traced.model.num_blocks
        on_device = ServerSide(traced.model.server_part(cut), training, scenario.model.loss_kind) if whole else None
        held = [part]
        link: ServerLink = _WatchedLink(trace, on_device)
        if head_blocks:
            link = head = watched_head(traced, training, scenario.model.loss_kind, cut, head_blocks)
            held.append(head.part)
        watched = [parameter for one in held for parameter in one.parameters()]
        estimator = make_estimator(mode, part, training, recompute)
        try:
            with trace.watching(watched):
                if staleness > 0:
                    steps = overlapping(estimator, mode, staleness, training.overlap.gradient)
                    ahead = AheadOfGradients(steps, part, staleness, trace)
                    _go_ahead(trace, ahead, part, traced.batch, link, training)
                    return trace
                for one in held:
                    _hold(trace, one, traced.batch)
                whole_or_parts: GradientEstimator | MicroBatchSteps = estimator
                if choice.micro_batches > 1:
                    task = scenario.model.loss_kind
                    whole_or_parts = in_micro_batches(estimator, mode, choice.micro_batches, task)
                for step in range(min(MEASURED_STEPS, training.local_steps)):
                    run_step(whole_or_parts, copy.copy(traced.batch), link, NoiseKey(0, "client", "", 0, step), trace)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            raise _untraceable(cut, mode, error) from error
        finally:
            estimator.close()
            _forget_gradients(watched)
    return trace


def _go_ahead(
    trace: MemoryTrace, ahead: AheadOfGradients, part: Part, batch: Batch, link: ServerLink, training: Training
) -> None:
    """Take the steps of a round that overlap, each with a batch of its own, as far as memory may still grow."""
    standing = [*part.parameters(), *part.buffers()]
    trace.track(standing)
    trace.mark(Role.PARAMETERS, standing)
    num_steps = min(ahead.measured_steps, training.local_steps)

    def draw() -> Batch:
        mask_BS = None if batch.mask_BS is None else torch.empty_like(batch.mask_BS)
        return Batch(torch.empty_like(batch.inputs), torch.empty_like(batch.labels), mask_BS)

    for step in range(num_steps):
        ahead.step(step, draw, link, NoiseKey(0, "client", "", 0, step))
    if num_steps == training.local_steps:
        ahead.drain()


def server_memory(
    traced: TracedModel,
    scenario: Scenario,
    cut: int,
    mode: str,
    cuda: CudaMemory | None = None,
    *,
    head_blocks: int = 0,
    micro_batches: int = 1,
) -> MemoryBreakdown:
    """Predict the peak memory of one client's server copy; nothing at the last cut.

    Parameters
    ----------
    traced
        The model as shapes.
    scenario
        Training settings.
    cut, mode
        The option: an exact or projecting client asks for λ, a probing one for losses.
    cuda
        The CUDA device that is meant; None for live tensor bytes.
    head_blocks, micro_batches
        Part of the option; of several micro-batches one is there at a time.

    Raises
    ------
    ProfileError
        If the server part cannot be traced.
    """
    if cut == traced.model.num_blocks:
        return MemoryBreakdown()
    trace = MemoryTrace(cuda)
    kernels = CPU_KERNELS if cuda is None else CUDA_KERNELS
    below = traced.model.client_part(cut)
    wants_gradient = MODES[mode].asks is Asks.GRADIENT and below.num_trainable > 0
    with shapes_only(kernels, traced.memo):
        batches = parts_of(traced.batch, micro_batches)
        with torch.no_grad():
            smashed = below(batches[0].inputs, batches[0].mask_BS)
        part = traced.model.server_part(cut, head_blocks)
        try:
            with trace.watching(part.parameters()):
                if head_blocks:
                    return middle_memory(traced, scenario, part, _received(smashed), trace, wants_gradient)
                server = ServerSide(part, scenario.training, scenario.model.loss_kind, micro_batches=micro_batches)
                _hold(trace, part, Batch(_received(smashed), traced.batch.labels, traced.batch.mask_BS))
                for step in range(min(MEASURED_STEPS, scenario.training.local_steps)):
                    server.begin_step(NoiseKey(0, "client", "", 0, step))
                    anchors = anchors_held(scenario.training.zeroth_order, mode)
                    for batch in batches:
                        held = [_received(smashed) for _ in range(anchors)]
                        _server_step(trace, server, held, batch, mode, wants_gradient)
                        del held
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            raise _untraceable(cut, mode, error) from error
        finally:
            _forget_gradients(part.parameters())
    return trace.breakdown()


def _received(smashed: Tensor) -> Tensor:
    return torch.empty_like(smashed, memory_format=torch.contiguous_format)


def anchors_held(settings: ZerothOrder, mode: str) -> int:
    """Smashed data that the server holds when it trains."""
    probes = MODES[mode].probes(settings, on_device=False)
    return 1 if probes is None else probes.trained


def _server_step(
    trace: MemoryTrace, server: ServerSide, held: list[Tensor], batch: Batch, mode: str, wants_gradient: bool
) -> None:
    trace.track(held)
    trace.mark(Role.ACTIVATIONS, held)
    with trace:
        if MODES[mode].asks is Asks.LOSSES:
            for h in held:
                server.probe(h, batch, keep=True)
            server.exact_kept(batch)
        else:
            server.exact(held[0], batch, wants_gradient=wants_gradient)


def _hold(trace: MemoryTrace, part: Part, batch: Batch) -> None:
    """Count what a part holds throughout: its parameters and buffers, and the batch."""
    standing = [*part.parameters(), *part.buffers()]
    trace.track(standing)
    trace.mark(Role.PARAMETERS, standing)
    inputs = [tensor for tensor in (batch.inputs, batch.labels, batch.mask_BS) if tensor is not None]
    trace.track(inputs)
    trace.mark(Role.ACTIVATIONS, inputs)


def fewer_directions(training: Training) -> Training:
    """Return the settings that are traced: directions are probed one after another and hold the same memory."""
    fewer = min(training.zeroth_order.directions, _TRACED_DIRECTIONS)
    return training.model_copy(update={"zeroth_order": training.zeroth_order.model_copy(update={"directions": fewer})})


def _forget_gradients(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _untraceable(cut: int, mode: str, error: Exception) -> ProfileError:
    return ProfileError(
        f"cut {cut}, {mode}: the mode cannot be traced on this model ({str(error).splitlines()[0]}); "
        "remove it from training.modes, or report the model"
    )
