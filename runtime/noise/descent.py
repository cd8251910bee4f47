"""Moving parameters along their directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hybridsplit.runtime.noise.directions import NoiseKey
from hybridsplit.runtime.noise.touched_rows import Rows, TouchedRows


def descend(
    parameters: Iterable[tuple[str, nn.Parameter]], key: NoiseKey, coefficients: Sequence[float], rows: Rows
) -> None:
    """Move parameters by ``- Σ_p coefficient_p · direction_p``, one noise tensor at a time.

    Parameters
    ----------
    parameters
        Trainable parameters by name.
    key
        The step's noise key.
    coefficients
        One number a direction: step size times estimated directional derivative, over the number of directions.
    rows
        Touched rows of the embeddings among the parameters.
    """
    with torch.no_grad():
        for name, parameter in parameters:
            touched = rows.get(name)
            if touched is None:
                for direction, coefficient in enumerate(coefficients):
                    parameter.sub_(key.draw(name, direction, parameter), alpha=coefficient)
                continue
            step_MD = _in_slots(name, parameter, key, coefficients, touched)
            # Slots of the same row but one are zero, so that the order in which they are added is of no account.
            parameter.index_add_(0, touched.rows_M, step_MD, alpha=-1)


def estimated_gradient(
    name: str, parameter: Tensor, key: NoiseKey, coefficients: Sequence[float], touched: TouchedRows | None
) -> Tensor:
    """Return ``Σ_p coefficient_p · direction_p`` in the shape of the parameter; rows not touched are zero.

    Parameters
    ----------
    name, parameter, key, coefficients
        As for :func:`descend`.
    touched
        Touched rows, if the parameter is an embedding.
    """
    if touched is not None:
        step_MD = _in_slots(name, parameter, key, coefficients, touched)
        return torch.zeros_like(parameter).index_add_(0, touched.rows_M, step_MD)
    gradient = key.draw(name, 0, parameter).mul_(coefficients[0])
    for direction, coefficient in enumerate(coefficients[1:], 1):
        gradient.add_(key.draw(name, direction, parameter), alpha=coefficient)
    return gradient


def _in_slots(
    name: str, parameter: Tensor, key: NoiseKey, coefficients: Sequence[float], touched: TouchedRows
) -> Tensor:
    step_MD = key.draw(name, 0, parameter, touched).mul_(coefficients[0])
    for direction, coefficient in enumerate(coefficients[1:], 1):
        step_MD.add_(key.draw(name, direction, parameter, touched), alpha=coefficient)
    return step_MD
