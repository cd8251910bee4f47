"""How good an estimate along random directions is, by the way in which the directions are used; nothing is assumed.

    python -m benchmarks.estimate_variance --study digits|quickstart
    python -m benchmarks.estimate_variance --study polarity --text-folder FOLDER --checkpoint FOLDER

Plain ``zo-projection`` trains in the settings of ``benchmarks.training_accuracy``. At the start and after every second
round exact gradients are taken at its weights: of the client part, sample by sample. From them the expected squared
cosine of every estimate follows in closed form (docs/methods/training-modes.md, Estimator moments), for signs as
directions. It is printed for the plain estimate, and as a multiple of it for the others: a multiple of 3 is worth what
three times the directions are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy_studies import CLIENT, Row, Study
from benchmarks.estimate_runs import (
    NUM_PUBLIC,
    Gradients,
    Variant,
    add_study,
    settings_of,
    study_of,
    trained,
)
from benchmarks.estimates import Plain
from hybridsplit.runtime.data.partition import draw_batch
from hybridsplit.runtime.data.sources import load_dataset

BATCHES = 4
"""Mini-batches on which the estimates are judged, at each state; as clients, where there are several."""
LATER_PASS = 1_000
"""Pass over the samples from which these mini-batches are drawn: no training step reaches it."""
PAST = 4
"""Past gradients that span a subspace."""
COLUMNS = (
    "4 parts", "samples", "blocks", "4 parts, blocks", "tensors", "best tensors", "public", "public, late", "past 4",
    "1 % of first", "10 % of first", "1 % of last", "10 % of last", "smallest 20 %",
)  # fmt: skip
COMMON = "4 clients, common"


@dataclass(frozen=True)
class State:
    """Exact gradients at one state of the weights.

    Parameters
    ----------
    samples_NND
        [batches, B, D] of each sample's share of its batch's loss.
    public_D
        [D] on public data.
    weights_D
        [D] the trained parameters themselves.
    """

    samples_NND: Tensor
    public_D: Tensor
    weights_D: Tensor


class Cosines:
    """Expected squared cosines of estimates of one mini-batch's gradient.

    Parameters
    ----------
    samples_ND
        [B, D] each sample's share of the gradient.
    groups_D, tensors_D
        [D] block and tensor of every parameter.
    directions
        Directions a step, P.
    """

    def __init__(self, samples_ND: Tensor, groups_D: Tensor, tensors_D: Tensor, directions: int) -> None:
        self._samples, self._directions = samples_ND, directions
        self._groups, self._tensors = groups_D, tensors_D
        self._gradient = samples_ND.sum(0)
        self._square = float(self._gradient.square().sum())

    def in_parts(self, parts: int) -> float:
        """Every part of the batch has P directions of its own."""
        sums_MD = torch.stack([chunk.sum(0) for chunk in self._samples.chunk(parts)])
        return self._of(float(sums_MD.square().sum()) * self._per_direction)

    def by_group(self, groups_D: Tensor, parts: int = 1) -> float:
        """P directions are shared out over groups of parameters, in proportion to the roots of their sizes."""
        sums_MD = torch.stack([chunk.sum(0) for chunk in self._samples.chunk(parts)])
        sizes_G = torch.bincount(groups_D).float()
        squares_G = torch.zeros_like(sizes_G).index_add_(0, groups_D, sums_MD.square().sum(0))
        shared_G = self._directions * sizes_G.sqrt() / sizes_G.sqrt().sum()
        return self._of(float((squares_G * (sizes_G - 1) / shared_G).sum()))

    def with_control(self, control_D: Tensor) -> float:
        """A known vector, scaled to fit best, is added, and only the rest is estimated."""
        fits = float(torch.dot(self._gradient, control_D)) ** 2 / float(control_D.square().sum())
        return self._of((self._square - fits) * self._per_direction)

    def in_span(self, past_KD: Tensor) -> float:
        """As many directions as vectors find the gradient within their span; the others estimate the rest."""
        basis_DK = torch.linalg.qr(past_KD.T).Q
        inside = float((basis_DK.T @ self._gradient).square().sum())
        rest = max(1, self._directions - basis_DK.shape[1])
        return self._of((self._square - inside) * self._per_direction * self._directions / rest)

    def of_some(self, chosen_D: Tensor) -> float:
        """Only some parameters are moved."""
        inside = float((self._gradient * chosen_D).square().sum())
        return inside / self._square / (1 + (float(chosen_D.sum()) - 1) / self._directions)

    def of_best_tensors(self) -> float:
        """Only those tensors are moved that give the largest cosine: known in hindsight alone."""
        sizes_T = torch.bincount(self._tensors).float()
        squares_T = torch.zeros_like(sizes_T).index_add_(0, self._tensors, self._gradient.square())
        order = (squares_T / sizes_T).argsort(descending=True)
        inside, moved = squares_T[order].cumsum(0), sizes_T[order].cumsum(0)
        return float((inside / self._square / (1 + (moved - 1) / self._directions)).max())

    def all_ways(self, found: State, earlier: list[Tensor]) -> list[float]:
        """Return the plain cosine, then those of :data:`COLUMNS`; NaN where there is no past yet."""
        magnitude = found.weights_D.abs()
        small_D = (magnitude <= magnitude.kthvalue(max(1, len(magnitude) // 5)).values).float()
        nan = float("nan")
        first, last = (earlier[0], earlier[-1]) if earlier else (None, None)
        sparse = [
            nan if known is None else self.of_some(_largest(known, share))
            for known in (first, last)
            for share in (0.01, 0.1)
        ]
        return [
            self.in_parts(1), self.in_parts(4), self.in_parts(len(self._samples)),
            self.by_group(self._groups), self.by_group(self._groups, 4), self.by_group(self._tensors),
            self.of_best_tensors(), self.with_control(found.public_D),
            nan if last is None else self.with_control(last),
            self.in_span(torch.stack(earlier[-PAST:])) if earlier else nan,
            *sparse, self.of_some(small_D),
        ]  # fmt: skip

    @property
    def _per_direction(self) -> float:
        return (len(self._gradient) - 1) / self._directions

    def _of(self, variance: float) -> float:
        return self._square / (self._square + variance)


def _largest(known_D: Tensor, share: float) -> Tensor:
    """Return 1 at the largest entries of a gradient and 0 elsewhere, [D]."""
    chosen = known_D.abs().topk(max(1, round(share * len(known_D)))).indices
    return torch.zeros_like(known_D).index_fill_(0, chosen, 1.0)


def table(study: Study, name: str, row: Row, cut: int, seed: int) -> Iterator[str]:
    """Train once, and give a line for every other round.

    Parameters
    ----------
    study, row, cut, seed
        As of ``benchmarks.training_accuracy``.
    name
        Of the setting.
    """
    scenario = study.scenario(row, cut, seed)
    dataset, found = load_dataset(scenario), []
    private = torch.arange(NUM_PUBLIC, len(dataset.train))
    groups: list[tuple[Tensor, Tensor]] = []

    def look(both: Gradients, step: int) -> None:
        groups[:] = [both.groups()]
        if step // scenario.training.local_steps % 2 == 0:
            size = scenario.training.batch_size
            later = [LATER_PASS * (len(private) // size) + at for at in range(BATCHES)]
            batches = [draw_batch(dataset.train, private, scenario, CLIENT, at) for at in later]
            public = dataset.train.batch(torch.arange(NUM_PUBLIC))
            weights_D = torch.cat([parameter.detach().flatten() for parameter in both.parameters])
            samples = torch.stack([both.aside(batch, size) for batch in batches])
            found.append((step, State(samples, both.aside(public)[0], weights_D)))

    trained(study, row, Variant(Plain), cut, seed, look=look)
    blocks_D, tensors_D = groups[0]
    for at, (step, state) in enumerate(found):
        earlier = [one.public_D for _, one in found[:at]]
        directions = scenario.training.zeroth_order.directions
        judged = [Cosines(samples_ND, blocks_D, tensors_D, directions) for samples_ND in state.samples_NND]
        ways = np.mean([one.all_ways(state, earlier) for one in judged], axis=0)
        common = common_over_clients(state.samples_NND.sum(1), directions)
        others = " | ".join("-" if np.isnan(way) else f"{way / ways[0]:.1f}" for way in ways[1:])
        yield f"| {name} | {len(blocks_D):,} | {step} | {ways[0]:.2g} | {others} | {common:.1f} |"


def common_over_clients(gradients_CD: Tensor, directions: int) -> float:
    """Return the squared cosine with directions common to the clients over that with directions of their own.

    Parameters
    ----------
    gradients_CD
        [clients, D] gradients; their mean is to be estimated.
    directions
        Directions of each client.
    """
    mean_D = gradients_CD.mean(0)
    square = float(mean_D.square().sum())
    per_direction = (gradients_CD.shape[1] - 1) / directions
    own = float(gradients_CD.square().sum()) / len(gradients_CD) ** 2 * per_direction
    return (square + own) / (square + square * per_direction)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_study(parser)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    study = study_of(arguments)
    print(f"| setting | D | step | plain | {' | '.join((*COLUMNS, COMMON))} |")
    print("|" + "---|" * (5 + len(COLUMNS)))
    for name, row, cut in settings_of(study, arguments):
        for line in table(study, name, row, cut, arguments.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
