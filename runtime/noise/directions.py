"""Perturbation directions: one random tensor a parameter and direction, drawn again wherever it is needed.

A direction of a parameter is drawn from a generator seeded by (run seed, side, round, step, client, parameter name,
direction). Moving the cut, training other parameters or changing the order of draws changes no direction, and neither
do the device and the number of threads: drawing and normalising are serial or split in a fixed way, on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from runtime.streams import stream_seed

Distribution = Literal["gaussian", "sphere", "rademacher"]
_BITS = 64
_NORM_CHUNK = 1024


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
    distribution
        ``gaussian``: independent standard normal entries. ``sphere``: each parameter tensor's direction is uniform on
        the sphere of radius sqrt(n) of its n entries; tensor by tensor, so that it depends on no other parameter and
        hence on no cut. ``rademacher``: independent signs. All have identity covariance.
    prefix_blocks
        Directions of parameters in this many lowest blocks are the same for all clients.
    """

    seed: int
    side: str
    client: str
    round: int
    step: int
    distribution: Distribution = "gaussian"
    prefix_blocks: int = 0

    def direction_seed(self, name: str, direction: int) -> int:
        """Return the seed of one parameter's direction."""
        client = "" if in_prefix(name, self.prefix_blocks) else self.client
        return stream_seed(self.seed, "noise", self.side, client, self.round, self.step, name, direction)

    def draw(self, name: str, direction: int, like: Tensor, rows: TouchedRows | None = None) -> Tensor:
        """Draw the direction of a parameter.

        Parameters
        ----------
        name, direction
            Which parameter, which direction.
        like
            The parameter: shape, dtype and device of the result.
        rows
            For an embedding, the rows touched: the result is then [N, D], one row a token of the batch. ``sphere`` is
            over the distinct rows that are trained.
        """
        generator = torch.Generator(device="cpu").manual_seed(self.direction_seed(name, direction))
        shape = like.shape if rows is None else (rows.ids_N.numel(), like.shape[1])
        if self.distribution == "rademacher":
            noise = _signs(shape, like.dtype, generator)
        else:
            noise = torch.randn(shape, generator=generator, dtype=like.dtype, device="cpu")
        if self.distribution == "sphere":
            noise = _on_sphere(noise) if rows is None else _rows_on_sphere(noise, rows.distinct().to("cpu"))
        noise = noise.to(like.device)
        return noise if rows is None else rows.share(noise)


def in_prefix(name: str, prefix_blocks: int) -> bool:
    """Whether a parameter lies in the lowest ``prefix_blocks`` blocks, by its name."""
    return prefix_blocks > 0 and name.startswith("blocks.") and int(name.split(".", 2)[1]) < prefix_blocks


def _signs(shape: Sequence[int], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Draw +1 or -1 from single random bits: 64 a word, eight at a time through a table."""
    size = torch.Size(shape)
    words = torch.empty(-(-size.numel() // _BITS), dtype=torch.int64, device="cpu")
    words.random_(-(2**63), None, generator=generator)
    bits = torch.arange(256, device="cpu").unsqueeze(-1).bitwise_right_shift(torch.arange(8, device="cpu"))
    signs_of_byte = bits.bitwise_and_(1).mul_(2).sub_(1).to(dtype)
    signs = torch.index_select(signs_of_byte, 0, words.view(torch.uint8).int())
    return signs.flatten()[: size.numel()].view(size)


def _on_sphere(noise: Tensor) -> Tensor:
    return noise.mul_(noise.numel() ** 0.5 / _norm(noise).clamp_min_(torch.finfo(noise.dtype).tiny))


def _rows_on_sphere(noise_ND: Tensor, distinct_N: Tensor) -> Tensor:
    norm_N = torch.linalg.vector_norm(noise_ND, dim=1, dtype=torch.float64).mul_(distinct_N)
    entries = distinct_N.sum().mul_(noise_ND.shape[1])
    return noise_ND.mul_(entries.sqrt() / _norm(norm_N).clamp_min_(torch.finfo(noise_ND.dtype).tiny))


def _norm(values: Tensor) -> Tensor:
    """Euclidean norm, shape []: chunk by chunk, since a whole reduction is split by the number of threads."""
    values = values.flatten()
    while values.numel() > _NORM_CHUNK:
        whole = values.numel() // _NORM_CHUNK * _NORM_CHUNK
        chunks, rest = values[:whole].view(-1, _NORM_CHUNK), values[whole:]
        of_chunks = torch.linalg.vector_norm(chunks, dim=1, dtype=torch.float64)
        values = torch.cat([of_chunks, torch.linalg.vector_norm(rest, dtype=torch.float64).view(1)])
    norm: Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
    return norm


@dataclass(frozen=True)
class TouchedRows:
    """Rows of an embedding that a batch reads; shapes are static so that shapes alone can trace it.

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

    def distinct(self) -> Tensor:
        """Return 1 at the first token of every row that is trained, 0 elsewhere; shape [N]."""
        index_N = torch.arange(self.first_N.numel(), device=self.first_N.device)
        return (self.first_N == index_N).long().mul_(self.counts_N1.squeeze(-1))

    def share(self, noise_ND: Tensor) -> Tensor:
        """Give tokens of the same row the same noise, and the padding row none."""
        return noise_ND[self.first_N].mul_(self.counts_N1)


Rows = Mapping[str, TouchedRows]
