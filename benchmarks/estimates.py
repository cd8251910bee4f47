"""Ways to use random directions, as functions of exact gradients: what forward passes would find, without running them.

A directional derivative ``⟨λ, f(θ + μu) − f(θ)⟩ / μ`` is ``⟨g, u⟩`` up to O(μ) (docs/methods/training-modes.md,
Directional derivatives), so that an estimate along any directions u is a product of g with them. That takes one
backward pass in place of many forward passes, and is for measuring what a variant would reach, where there is memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Estimate(ABC):
    """Turns exact gradients into what directions would tell of them; remembers between steps what it needs to.

    Parameters
    ----------
    num_directions
        Directions a step, P; those of one part of the batch, or of one client, where they differ.
    blocks_D, tensors_D
        [D] number of the block and of the tensor that a parameter belongs to, in ascending order.
    seed
        Of the directions.
    """

    def __init__(self, num_directions: int, blocks_D: Tensor, tensors_D: Tensor, seed: int) -> None:
        self._directions, self._generator = num_directions, torch.Generator().manual_seed(seed)
        self._blocks = torch.bincount(blocks_D).tolist()
        self._tensors = torch.bincount(tensors_D)
        self._setup()

    def _setup(self) -> None:  # noqa: B027
        """Prepare what is remembered; nothing by default."""

    def forwards(self, shares_B: Sequence[float]) -> float:
        """Return the forward passes a step, in passes of the whole batch through the client part.

        Parameters
        ----------
        shares_B
            [blocks of the client part with something to train] share of a pass from each block to the cut.
        """
        return 1.0 + self._directions

    @abstractmethod
    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """Return the estimated gradient, [D].

        Parameters
        ----------
        parts_MD
            [M, D] exact gradients of the parts of a batch, or of the clients; their sum is the gradient.
        public
            Takes the exact gradient [D] on public data, at today's weights.
        step
            Steps since the start of the round.
        """

    def _along(self, gradient_D: Tensor, directions: int) -> Tensor:
        signs_PD = self._signs(directions, len(gradient_D))
        return (signs_PD @ gradient_D) @ signs_PD / directions

    def _signs(self, rows: int, columns: int) -> Tensor:
        bits = torch.randint(0, 2, (rows, columns), generator=self._generator, dtype=torch.int8)
        return bits.float().mul_(2).sub_(1)


class Plain(Estimate):
    """``zo-projection``: every direction moves all parameters, over the whole batch; with clients, all alike."""

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        return self._along(parts_MD.sum(0), self._directions)


class Twice(Plain):
    """Twice the directions."""

    def _setup(self) -> None:
        self._directions *= 2


class OwnDirections(Estimate):
    """Every part of the batch, or every client, has directions of its own; the mean of their estimates is applied."""

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        return torch.stack([self._along(part, self._directions) for part in parts_MD]).sum(0)


class SingleBlocks(Estimate):
    """A direction moves one block; directions are shared out by the roots of the blocks' sizes, one each at least."""

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        shares = apportioned(self._blocks, self._directions)
        parts = zip(parts_MD.sum(0).split(self._blocks), shares, strict=True)
        return torch.cat([self._along(of_block, share) for of_block, share in parts])

    def forwards(self, shares_B: Sequence[float]) -> float:
        """As :meth:`Estimate.forwards`: an anchor, a pass for the inputs of blocks, and what is above them."""
        of_blocks = zip(apportioned(self._blocks, self._directions), shares_B, strict=True)
        return 2.0 + sum(count * share for count, share in of_blocks)


class SingleBlocksTwice(SingleBlocks):
    """Twice the directions, since blocks below the moved one need not run again."""

    def _setup(self) -> None:
        self._directions *= 2


class Normalised(Plain):
    """The estimate is divided by the root mean square of the step's derivatives, as FZOO does (arXiv 2506.09034)."""

    def _along(self, gradient_D: Tensor, directions: int) -> Tensor:
        signs_PD = self._signs(directions, len(gradient_D))
        derivatives_P = signs_PD @ gradient_D
        size = derivatives_P.square().mean().sqrt().clamp_min(1e-12)
        return derivatives_P @ signs_PD / (directions * size)


class Clipped(Plain):
    """Derivatives are cut to a limit (``zeroth_order.clip_derivative``)."""

    limit = 1.0

    def _along(self, gradient_D: Tensor, directions: int) -> Tensor:
        signs_PD = self._signs(directions, len(gradient_D))
        return (signs_PD @ gradient_D).clamp(-self.limit, self.limit) @ signs_PD / directions


class ClippedEarly(Clipped):
    """As :class:`Clipped`, at a third of the limit."""

    limit = 0.3


class NormalisedBlocks(SingleBlocks):
    """As :class:`SingleBlocks`, each block's estimate over a running root mean square of the block's derivatives.

    That is one second moment a block, as Adam-mini has it (arXiv 2406.16793), found from scalars and kept in a few
    numbers.
    """

    decay = 0.95

    def _setup(self) -> None:
        self._squares = [0.0] * len(self._blocks)
        self._steps = 0
        self._shares = apportioned(self._blocks, self._directions)

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        self._steps += 1
        found: list[Tensor] = []
        for block, gradient in enumerate(parts_MD.sum(0).split(self._blocks)):
            signs_PD = self._signs(self._shares[block], len(gradient))
            derivatives_P = signs_PD @ gradient
            new = float(derivatives_P.square().mean())
            self._squares[block] = self.decay * self._squares[block] + (1 - self.decay) * new
            mean = self._squares[block] / (1 - self.decay**self._steps)
            found.append(derivatives_P @ signs_PD / (self._shares[block] * max(mean**0.5, 1e-12)))
        return torch.cat(found)


class NormalisedBlocksTwice(NormalisedBlocks):
    """Twice the directions, since blocks below the moved one need not run again."""

    def _setup(self) -> None:
        self._directions *= 2
        super()._setup()


class Sparse(Estimate):
    """Directions move a tenth of the parameters: where the gradient on public data was largest as the round began."""

    share = 0.1

    def _setup(self) -> None:
        self._chosen = torch.arange(0)

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        if step == 0:
            self._chosen = public().abs().topk(max(1, round(self.share * parts_MD.shape[1]))).indices
        gradient_D = parts_MD.sum(0)
        return torch.zeros_like(gradient_D).index_copy_(
            0, self._chosen, self._along(gradient_D[self._chosen], self._directions)
        )


class SparseHundredth(Sparse):
    """As :class:`Sparse`, one parameter in a hundred."""

    share = 0.01


class LearntTensors(Estimate):
    """A direction moves one tensor, drawn in proportion to root of size times gradient; the latter is learnt.

    The square of a derivative along signs is the tensor's squared gradient on average, so the scalars tell.
    """

    decay = 0.9

    def _setup(self) -> None:
        self._squares_T = torch.full((len(self._tensors),), float("nan"))

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        known = self._squares_T.isfinite()
        mean = self._squares_T[known].mean() if known.any() else torch.tensor(1.0)
        wanted_T = (self._tensors * self._squares_T.where(known, mean)).sqrt()
        # A tenth is drawn by size alone: a tensor that looked flat once is looked at again.
        by_size_T = self._tensors.float().sqrt()
        chance_T = 0.9 * wanted_T / wanted_T.sum().clamp_min(1e-30) + 0.1 * by_size_T / by_size_T.sum()
        drawn = torch.multinomial(chance_T, self._directions, replacement=True, generator=self._generator).tolist()
        gradients = parts_MD.sum(0).split(self._tensors.tolist())
        estimate = [torch.zeros_like(gradient) for gradient in gradients]
        for tensor in drawn:
            signs = self._signs(1, len(gradients[tensor]))[0]
            derivative = torch.dot(signs, gradients[tensor])
            estimate[tensor].add_(signs, alpha=float(derivative / (self._directions * chance_T[tensor])))
            old, new = self._squares_T[tensor], derivative.square()
            self._squares_T[tensor] = new if not old.isfinite() else self.decay * old + (1 - self.decay) * new
        return torch.cat(estimate)


class HessianInformed(Estimate):
    """Directions are shortened by the root of a running mean of squared estimates (HiSo, arXiv 2506.02370)."""

    decay = 0.99

    def _setup(self) -> None:
        self._mean_D = torch.ones(int(self._tensors.sum()))

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        length_D = (self._mean_D / self._mean_D.mean()).clamp_min(1e-2).rsqrt().sqrt()
        estimate = length_D * self._along(length_D * parts_MD.sum(0), self._directions)
        self._mean_D.mul_(self.decay).add_(estimate.square(), alpha=1 - self.decay)
        return estimate


class Public(Estimate):
    """No directions: the exact gradient that the server takes of its copy of the client part on public data."""

    def forwards(self, shares_B: Sequence[float]) -> float:
        """As :meth:`Estimate.forwards`: the client's own pass for the server part alone."""
        return 1.0

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        return public()


class PublicAsControl(Estimate):
    """The public gradient of the round's beginning is a control variate, scaled as one derivative along it says."""

    def _setup(self) -> None:
        self._known = torch.zeros(0)

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        if step == 0:
            self._known = public()
        gradient_D = parts_MD.sum(0)
        along = torch.dot(gradient_D, self._known) / self._known.square().sum().clamp_min(1e-30)
        return along * self._known + self._along(gradient_D - along * self._known, self._directions - 1)


class Exact(Estimate):
    """The gradient itself."""

    def of(self, parts_MD: Tensor, public: Callable[[], Tensor], step: int) -> Tensor:
        """As :meth:`Estimate.of`."""
        return parts_MD.sum(0)


def apportioned(sizes: Sequence[int], directions: int) -> list[int]:
    """Share directions out over groups of parameters by the roots of their sizes; each group has one at least.

    Parameters
    ----------
    sizes
        Parameters of each group.
    directions
        How many there are.
    """
    counts = [1] * len(sizes)
    while sum(counts) < directions:
        # The next one goes where it is missing most.
        most = max(range(len(sizes)), key=lambda group: sizes[group] ** 0.5 / counts[group])
        counts[most] += 1
    return counts
