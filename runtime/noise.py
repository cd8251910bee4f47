"""Perturbation directions, keyed so that they do not depend on the cut, and the forward pass that uses them.

A direction of a parameter is drawn from a generator seeded by (run seed, side, round, step, client, parameter name,
direction). Moving the cut, training other parameters or changing the order of draws changes no direction.

Probes perturb out of place and tensor by tensor: :class:`Perturbed` hands each operator a perturbed copy of the one
parameter it reads, which lives as long as that operator. Of an embedding, only the rows the batch touches are
perturbed; all other rows have no gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from runtime.streams import stream_seed


@dataclass(frozen=True)
class NoiseKey:
    """What all directions of one step have in common.

    Parameters
    ----------
    seed
        The run's seed.
    side
        ``client`` or ``server``; the two never share a stream (methods note, section 1.6 test 7).
    client, round, step
        Whose step, and which.
    """

    seed: int
    side: str
    client: str
    round: int
    step: int

    def direction_seed(self, name: str, direction: int) -> int:
        """Return the seed of one parameter's direction."""
        return stream_seed(self.seed, "noise", self.side, self.client, self.round, self.step, name, direction)

    def gaussian(self, name: str, direction: int, like: Tensor, rows: TouchedRows | None = None) -> Tensor:
        """Draw the standard normal direction of a parameter.

        Parameters
        ----------
        name, direction
            Which parameter, which direction.
        like
            The parameter: shape, dtype and device of the result.
        rows
            For an embedding, the rows touched: the result is then [N, D], one row a token of the batch.
        """
        generator = torch.Generator(device="cpu").manual_seed(self.direction_seed(name, direction))
        shape = like.shape if rows is None else (rows.ids_N.numel(), like.shape[1])
        noise = torch.randn(shape, generator=generator, dtype=like.dtype, device="cpu").to(like.device)
        return noise if rows is None else rows.share(noise)


@dataclass(frozen=True)
class TouchedRows:
    """Rows of an embedding that a batch reads; shapes are static so that fake tensors can trace it.

    Parameters
    ----------
    ids_N
        Row of each of the batch's N tokens.
    first_N
        For each token, the position of the first token with the same row.
    counts_N1
        1 where the row is trained, 0 at the padding row.
    """

    ids_N: Tensor
    first_N: Tensor
    counts_N1: Tensor

    @classmethod
    def of(cls, ids: Tensor, padding_idx: int | None) -> TouchedRows:
        """Find the rows that the ids touch."""
        ids_N = ids.flatten()
        sorted_N, order_N = torch.sort(ids_N, stable=True)
        index_N = torch.arange(ids_N.numel(), device=ids.device)
        is_new_N = torch.cat([torch.ones_like(sorted_N[:1], dtype=torch.bool), sorted_N[1:] != sorted_N[:-1]])
        group_start_N = torch.cummax(torch.where(is_new_N, index_N, torch.zeros_like(index_N)), dim=0).values
        first_N = torch.empty_like(order_N).scatter_(0, order_N, order_N[group_start_N])
        counts_N = torch.ones_like(ids_N) if padding_idx is None else (ids_N != padding_idx).long()
        return cls(ids_N, first_N, counts_N.unsqueeze(-1))

    def share(self, noise_ND: Tensor) -> Tensor:
        """Give tokens of the same row the same noise, and the padding row none."""
        return noise_ND[self.first_N] * self.counts_N1


Rows = Mapping[str, TouchedRows]


@dataclass
class Perturbed(TorchFunctionMode):
    """Within it, every operator that reads a trainable parameter sees ``parameter + scale * direction``.

    Parameters
    ----------
    parameters
        Trainable parameters by name.
    key, direction
        Which directions.
    scale
        The signed radius; 0 records the touched embedding rows and perturbs nothing.
    """

    parameters: Iterable[tuple[str, nn.Parameter]]
    key: NoiseKey
    direction: int
    scale: float
    rows: dict[str, TouchedRows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in self.parameters}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        if func is F.embedding and id(args[1]) in self._names:
            return self._embedding(args, kwargs)
        if self.scale == 0.0:
            return func(*args, **kwargs)
        return func(*(self._shift(a) for a in args), **{k: self._shift(v) for k, v in kwargs.items()})

    def _shift(self, value: Any) -> Any:
        if isinstance(value, nn.Parameter) and id(value) in self._names:
            name = self._names[id(value)]
            # In place on the fresh noise, so that noise and perturbed copy are one tensor.
            return self.key.gaussian(name, self.direction, value).mul_(self.scale).add_(value.detach())
        if isinstance(value, (tuple, list)):
            return type(value)(self._shift(item) for item in value)
        return value

    def _embedding(self, args: Any, kwargs: Any) -> Tensor:
        ids, weight = args[0], args[1]
        name = self._names[id(weight)]
        padding_idx = args[2] if len(args) > 2 else kwargs.get("padding_idx")
        rows = self.rows.setdefault(name, TouchedRows.of(ids, padding_idx))
        result = F.embedding(*args, **kwargs)
        if self.scale == 0.0:
            return result
        noise_ND = self.key.gaussian(name, self.direction, weight, rows).mul_(self.scale)
        return noise_ND.view_as(result).add_(result)


def descend(
    parameters: Iterable[tuple[str, nn.Parameter]], key: NoiseKey, coefficients: list[float], rows: Rows
) -> None:
    """Move parameters by ``- Σ_p coefficient_p · direction_p``, one noise tensor at a time.

    The client's update and the server's replay are this one function, so that the same scalars give the same bits.

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
                    parameter.sub_(key.gaussian(name, direction, parameter), alpha=coefficient)
                continue
            step_ND = torch.zeros(
                touched.ids_N.numel(), parameter.shape[1], dtype=parameter.dtype, device=parameter.device
            )
            for direction, coefficient in enumerate(coefficients):
                step_ND.add_(key.gaussian(name, direction, parameter, touched), alpha=coefficient)
            # Tokens of the same row carry the same value, so that writing it twice is harmless.
            parameter.index_copy_(0, touched.ids_N, parameter[touched.ids_N] - step_ND)
