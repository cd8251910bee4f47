"""Exact directional derivatives of a forward pass by forward-mode differentiation (Baydin et al., arXiv 2202.08587)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from hybridsplit.runtime.noise.along_direction import AlongDirection
from hybridsplit.runtime.noise.directions import NoiseKey
from hybridsplit.scenarios.errors import ScenarioError


class ForwardMode(AlongDirection):
    """Within it, every operator that reads a trainable parameter reads a dual number with the direction as tangent."""

    def _stand_in(self, parameter: Tensor, noise: Tensor) -> Tensor:
        return forward_ad.make_dual(parameter, noise)  # type: ignore[no-untyped-call, no-any-return]


def tangent_along(
    run: Callable[[Tensor], Tensor],
    inputs: Tensor,
    parameters: Iterable[tuple[str, nn.Parameter]],
    key: NoiseKey,
    direction: int,
    tangent_in: Tensor | None = None,
) -> Tensor:
    """Return the derivative of what ``run`` gives, along one direction of the parameters it reads.

    Fused attention kernels have no forward derivative; plain products stand in for them.

    Parameters
    ----------
    run, inputs
        The forward pass, and what it takes.
    parameters, key, direction
        As for every substitution.
    tangent_in
        Derivative of the inputs along the same direction; None where they do not change.

    Returns
    -------
    The tangent, in the shape of the result.

    Raises
    ------
    ScenarioError
        If an operator of the model has no forward derivative.
    """
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
            if tangent_in is not None:
                inputs = forward_ad.make_dual(inputs, tangent_in)  # type: ignore[no-untyped-call]
            with ForwardMode(parameters, key, direction):
                result = run(inputs)
            primal, tangent = forward_ad.unpack_dual(result)  # type: ignore[no-untyped-call]
    except (NotImplementedError, RuntimeError) as error:
        if "forward" not in str(error).lower():
            raise
        raise ScenarioError(
            "training.zeroth_order.derivative: found 'forward-mode', which an operator of this model does not offer "
            f"({str(error).splitlines()[0]}); use derivative: finite-difference"
        ) from error
    return torch.zeros_like(primal) if tangent is None else tangent
