"""Perturbation directions: one random tensor a parameter and direction, drawn again wherever it is needed.

A direction of a parameter is drawn from a generator seeded by (run seed, side, round, step, client, parameter name,
direction). Moving the cut, training other parameters or changing the order of draws changes no direction, and neither
do the device and the number of threads: drawing and normalising are serial or split in a fixed way, on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hybridsplit.runtime.noise.touched_rows import TouchedRows
from hybridsplit.scenarios.streams import stream_seed

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
        ``client`` or ``server``; the two never share a stream (docs/methods/training-modes.md, Noise keys).
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
            For an embedding, the rows touched: the result is then [M, D] for its M slots, zero in those that are not
            trained. ``sphere`` is over the trained ones.
        """
        generator = torch.Generator(device="cpu").manual_seed(self.direction_seed(name, direction))
        shape = like.shape if rows is None else (rows.rows_M.numel(), like.shape[1])
        if self.distribution == "rademacher":
            noise = _signs(shape, like.dtype, generator)
        else:
            noise = torch.randn(shape, generator=generator, dtype=like.dtype, device="cpu")
        if self.distribution == "sphere":
            noise = _on_sphere(noise) if rows is None else _rows_on_sphere(noise, rows.trained_M.to("cpu"))
        noise = noise.to(like.device)
        return noise if rows is None else noise.mul_(rows.trained_M.unsqueeze(-1))


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


def _rows_on_sphere(noise_MD: Tensor, trained_M: Tensor) -> Tensor:
    norm_M = torch.linalg.vector_norm(noise_MD, dim=1, dtype=torch.float64).mul_(trained_M)
    entries = trained_M.sum().mul_(noise_MD.shape[1])
    return noise_MD.mul_(entries.sqrt() / _norm(norm_M).clamp_min_(torch.finfo(noise_MD.dtype).tiny))


def _norm(values: Tensor) -> Tensor:
    """Euclidean norm, shape []: chunk by chunk, since a whole reduction is split by the number of threads."""
    values = values.flatten()
    while values.numel() > _NORM_CHUNK:
        whole = values.numel() // _NORM_CHUNK * _NORM_CHUNK
        chunks, rest = values[:whole].view(-1, _NORM_CHUNK), values[whole:]
        values = torch.linalg.vector_norm(chunks, dim=1, dtype=torch.float64)
        if rest.numel():
            values = torch.cat([values, torch.linalg.vector_norm(rest, dtype=torch.float64).view(1)])
    norm: Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
    return norm
