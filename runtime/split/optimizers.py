"""Optimizers of exact gradients, whole or inside backward, with clipping, and their state by parameter name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridsplit.runtime.split.micro_batches import divide_gradients
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import AdamW, GradientClip, Optimizer, Sgd

OptimizerState = dict[str, Tensor]
"""State of an optimizer by parameter name and torch's key, for example ``blocks.0.weight/exp_avg``."""


def make_optimizer(settings: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of a scenario for some parameters.

    Tensor by tensor rather than fused over all of them: the multi-tensor form needs temporaries of the whole model.
    """
    if isinstance(settings, AdamW):
        return torch.optim.AdamW(
            list(parameters), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
    return torch.optim.SGD(
        list(parameters),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        foreach=False,
    )


def is_plain(settings: Optimizer) -> bool:
    """Whether it is SGD without momentum and weight decay: a step is the gradient, scaled, and nothing is kept."""
    return isinstance(settings, Sgd) and settings.momentum == 0.0 and settings.weight_decay == 0.0


class NamedOptimizer:
    """Optimizers of named parameters, and what they keep between steps.

    Parameters
    ----------
    parameters
        Parameters with their names.
    optimizers
        The optimizer of each; one may serve several.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        self._parameters = parameters
        self._optimizers = optimizers

    def state(self) -> OptimizerState:
        """Return a copy of the state; empty before the first step, and for optimizers that keep none."""
        return {
            f"{name}/{key}": value.clone()
            for name, optimizer in self._optimizers.items()
            for key, value in optimizer.state.get(self._parameters[name], {}).items()
            if isinstance(value, Tensor)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load a state; parameters that it does not name start without one, and names of others are skipped."""
        for name, optimizer in self._optimizers.items():
            parameter = self._parameters[name]
            found = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
            optimizer.state.pop(parameter, None)
            if found:
                # A step count stays where it is kept; all else belongs beside the parameter.
                optimizer.state[parameter] = {
                    key: value.clone() if value.dim() == 0 else value.to(parameter.device, copy=True)
                    for key, value in found.items()
                }


class PartOptimizer(NamedOptimizer):
    """Clips and applies the gradients of a part, all at once.

    Parameters
    ----------
    settings
        The scenario's optimizer.
    parameters
        Trainable parameters with their names; possibly none.
    clip
        How gradients are clipped before the step; not at all when None.
    """

    def __init__(
        self, settings: Optimizer, parameters: Iterable[tuple[str, nn.Parameter]], clip: GradientClip | None = None
    ) -> None:
        named = dict(parameters)
        self._clip = clip
        # Without momentum a step is an addition or two a tensor, and calling torch's optimizer takes longer.
        self._sgd = settings if isinstance(settings, Sgd) and settings.momentum == 0.0 else None
        self._optimizer = make_optimizer(settings, named.values()) if named and self._sgd is None else None
        super().__init__(named, {} if self._optimizer is None else dict.fromkeys(named, self._optimizer))

    def step(self) -> None:
        """Clip, update and forget the gradients."""
        if self._clip is not None and self._parameters:
            clip_gradients(self._parameters.values(), self._clip)
        if self._optimizer is not None:
            self._optimizer.step()
        elif self._sgd is not None:
            _descend(self._parameters.values(), self._sgd)
        for parameter in self._parameters.values():
            parameter.grad = None


@torch.no_grad()
def _descend(parameters: Iterable[nn.Parameter], settings: Sgd) -> None:
    """Take a step of SGD without momentum, to the bits of :class:`torch.optim.SGD`."""
    for parameter in parameters:
        if parameter.grad is not None:
            gradient = parameter.grad
            if settings.weight_decay:
                gradient = gradient.add(parameter, alpha=settings.weight_decay)
            parameter.add_(gradient, alpha=-settings.learning_rate)


class OptimizerInBackward(NamedOptimizer):
    """Updates each parameter, and frees its gradient, as soon as backward has accumulated it.

    Parameters
    ----------
    settings
        The scenario's optimizer.
    parameters
        Parameters to train, with their names; each gets an optimizer of its own.
    clip
        How gradients are clipped before the step; not at all when None.

    Raises
    ------
    ContractError
        If gradients are to be clipped over the whole part, whose norm is not known in time.
    """

    def __init__(
        self, settings: Optimizer, parameters: Iterable[tuple[str, nn.Parameter]], clip: GradientClip | None = None
    ) -> None:
        if clip is not None and clip.over == "part":
            raise ContractError(
                "gradient_clip.over: found 'part' for fo-recompute, which updates every parameter before the norm of "
                "the part is known; use over: parameter, or another mode"
            )
        named = dict(parameters)
        super().__init__(named, {name: make_optimizer(settings, [parameter]) for name, parameter in named.items()})
        self._sum = _Sum()
        self._handles = [
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                _stepper(self._optimizers[name], parameter, clip, self._sum)
            )
            for name, parameter in named.items()
        ]

    def sum_up(self, weights: Sequence[float] = ()) -> None:
        """Let the next backward pass be one of several whose gradients make one step.

        Parameters
        ----------
        weights
            With the last of them, the weights of all: each parameter takes its step along the mean. Nothing before, so
            that gradients are added and stay.
        """
        self._sum.is_open, self._sum.weights = not weights, weights

    def remove(self) -> None:
        """Detach from the parameters."""
        for handle in self._handles:
            handle.remove()


def clip_gradients(parameters: Iterable[nn.Parameter], clip: GradientClip) -> None:
    """Scale gradients down to the largest norm allowed, of all together or of each by itself."""
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    for group in [trained] if clip.over == "part" else [[parameter] for parameter in trained]:
        nn.utils.clip_grad_norm_(group, clip.norm, foreach=False)


@dataclass
class _Sum:
    """Whether gradients are added up for now, and the weights by which the sum is divided; none for a single one."""

    is_open: bool = False
    weights: Sequence[float] = ()


def _stepper(
    optimizer: torch.optim.Optimizer, parameter: nn.Parameter, clip: GradientClip | None, of_parts: _Sum
) -> Callable[[Tensor], None]:
    def step(_: Tensor) -> None:
        if of_parts.is_open:
            return
        if of_parts.weights:
            divide_gradients([parameter], of_parts.weights)
        if clip is not None:
            clip_gradients([parameter], clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
