"""Training of a client part along estimates made from exact gradients, in the settings of the accuracy studies."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import transformers
from torch import Tensor

from benchmarks.accuracy_studies import CLIENT, Row, Study, digits, polarity, quickstart
from benchmarks.estimates import Estimate
from hybridsplit.profiler.model_profile import profile_model
from hybridsplit.runtime.data.partition import draw_batch
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.runtime.models.build import build_blocks
from hybridsplit.runtime.split.learning_rates import learning_rate_factor
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.micro_batches import parts_of
from hybridsplit.runtime.split.optimizers import make_optimizer
from hybridsplit.runtime.split.parts import SplitModel, block_of, task_loss
from hybridsplit.scenarios.schema import Scenario

NUM_PUBLIC = 128
"""Training samples that no client has."""
TEST_BATCH = 100


@dataclass(frozen=True)
class Variant:
    """A way to use directions.

    Parameters
    ----------
    estimate
        What becomes of exact gradients.
    parts
        Parts of the batch whose gradients are told apart.
    clients
        Clients with a batch each, whose mean gradient the shared server part and the client part are moved along.
    """

    estimate: type[Estimate]
    parts: int = 1
    clients: int = 1


class Gradients:
    """A client part and its server part, and exact gradients of the former.

    The client part runs in evaluation mode, as zeroth-order clients do.

    Parameters
    ----------
    scenario, cut
        The setting.
    dataset
        Its data.
    """

    def __init__(self, scenario: Scenario, cut: int, dataset: Dataset) -> None:
        self.model = SplitModel(build_blocks(scenario, num_labels=dataset.num_classes))
        self.client, self.server = self.model.client_part(cut), self.model.server_part(cut)
        self.parameters = [parameter for _, parameter in self.client.trainable()]
        self._task = scenario.model.loss_kind

    def of(self, batch: Batch, parts: int, weight: float = 1.0) -> tuple[Tensor, float]:
        """Return [parts, D] gradients of the parts of a batch, and its loss; the server part's are left on it.

        Parameters
        ----------
        batch, parts
            The batch, and how many parts of it are told apart.
        weight
            Factor on the loss that is differentiated.
        """
        h = self._smashed(batch).requires_grad_(True)
        loss = task_loss(self.server(h, batch.mask_BS), batch.labels, self._task)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        assert h.grad is not None
        pieces = zip(parts_of(batch, parts), h.grad.chunk(parts), strict=True)
        return torch.stack([self._projected(part, towards) for part, towards in pieces]), float(loss.detach())

    def of_server(self, batch: Batch, weight: float) -> float:
        """Leave the server part's gradients on it, and return the loss; the client part is not differentiated."""
        loss = task_loss(self.server(self._smashed(batch), batch.mask_BS), batch.labels, self._task)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def aside(self, batch: Batch, parts: int = 1) -> Tensor:
        """Return the gradients [parts, D] of a batch; the server part stays as it is."""
        statistics = self.server.snapshot()
        gradients = [parameter.grad for parameter in self.server.parameters()]
        self.server.zero_grad(set_to_none=True)
        found, _ = self.of(batch, parts)
        for parameter, gradient in zip(self.server.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.server.load(statistics)
        return found

    def groups(self) -> tuple[Tensor, Tensor]:
        """Return block and tensor of every trained parameter of the client part, [D] each, in ascending order."""
        blocks = [torch.full((p.numel(),), block_of(name)) for name, p in self.client.trainable()]
        tensors = [torch.full((p.numel(),), at) for at, p in enumerate(self.parameters)]
        return torch.unique(torch.cat(blocks), return_inverse=True)[1], torch.cat(tensors)

    def right(self, dataset: Dataset) -> float:
        """Return the share of held-out samples that are classified right."""
        self.model.whole.eval()
        found = 0
        with torch.inference_mode():
            for index in torch.arange(len(dataset.test)).split(TEST_BATCH):
                batch = dataset.test.batch(index)
                found += int((self.model.whole(batch.inputs, batch.mask_BS).argmax(-1) == batch.labels).sum())
        return found / len(dataset.test)

    def _smashed(self, batch: Batch) -> Tensor:
        self.client.eval()
        self.server.train()
        with torch.no_grad():
            h: Tensor = self.client(batch.inputs, batch.mask_BS)
        return h

    def _projected(self, batch: Batch, towards: Tensor) -> Tensor:
        projected = (self.client(batch.inputs, batch.mask_BS) * towards).sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(projected, self.parameters)])


def trained(
    study: Study,
    row: Row,
    variant: Variant | None,
    cut: int,
    seed: int,
    multiple: float = 1.0,
    look: Callable[[Gradients, int], None] | None = None,
) -> float:
    """Train once and return the final accuracy; NaN where it diverged.

    Parameters
    ----------
    study, row, cut, seed
        As of ``benchmarks.training_accuracy``.
    variant
        How directions are used; None for a frozen client part.
    multiple
        Of the row's learning rate of estimates.
    look
        Called with model and step before every round, and after the last one.
    """
    scenario = study.scenario(row, cut, seed)
    training, dataset = scenario.training, load_dataset(scenario)
    both, everything = Gradients(scenario, cut, dataset), torch.arange(len(dataset.train))
    clients = 1 if variant is None else variant.clients
    owned = [everything[NUM_PUBLIC + client :: clients] for client in range(clients)]
    sizes = [parameter.numel() for parameter in both.parameters]
    stepping = [make_optimizer(training.server_optimizer or training.optimizer, both.server.parameters())]
    estimate = None
    if variant is not None:
        estimate = variant.estimate(training.zeroth_order.directions, *both.groups(), seed)
        stepping.append(make_optimizer(training.zeroth_order.optimizer, both.parameters))
        stepping[1].param_groups[0]["lr"] *= multiple
    rates = [optimizer.param_groups[0]["lr"] for optimizer in stepping]
    for step in range(study.steps):
        round_index, within = divmod(step, training.local_steps)
        if look is not None and within == 0:
            look(both, step)
        factor = learning_rate_factor(training.learning_rate_schedule, round_index, training.rounds)
        for optimizer, rate in zip(stepping, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.zero_grad(set_to_none=True)
        batches = [
            draw_batch(dataset.train, own, scenario, f"{CLIENT}{at or ''}", step) for at, own in enumerate(owned)
        ]
        if variant is None or estimate is None:
            losses = [both.of_server(batch, 1 / clients) for batch in batches]
        else:
            found = [both.of(batch, variant.parts, 1 / clients) for batch in batches]
            losses = [loss for _, loss in found]
            public = partial(_public, both, scenario, dataset)
            gradient_D = estimate.of(torch.cat([parts for parts, _ in found]), public, within)
            for parameter, own_D in zip(both.parameters, gradient_D.split(sizes), strict=True):
                parameter.grad = own_D.view_as(parameter)
        if not all(map(math.isfinite, losses)):
            return math.nan
        for optimizer in stepping:
            optimizer.step()
    if look is not None:
        look(both, study.steps)
    return both.right(dataset)


def forwards_of(study: Study, row: Row, variant: Variant, cut: int) -> float:
    """Return the forward passes of a client's step, in passes of a batch through the client part.

    Parameters
    ----------
    study, row, cut
        As of :func:`trained`.
    variant
        How directions are used.
    """
    scenario = study.scenario(row, cut, 0)
    both = Gradients(scenario, cut, load_dataset(scenario))
    work = [cost.forward for cost in profile_model(scenario).by_batch_size[scenario.training.batch_size].costs[:cut]]
    flops = torch.tensor([float(cost.flops @ cost.count) for cost in work])
    above = flops.flip(0).cumsum(0).flip(0) / flops.sum()
    shares_B = [float(above[block]) for block in sorted({block_of(name) for name, _ in both.client.trainable()})]
    return variant.estimate(scenario.training.zeroth_order.directions, *both.groups(), 0).forwards(shares_B)


def _public(both: Gradients, scenario: Scenario, dataset: Dataset) -> Tensor:
    index = torch.arange(NUM_PUBLIC)
    return both.aside(draw_batch(dataset.train, index, scenario, "public", 0, batch_size=NUM_PUBLIC))[0]


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add what says which study is run."""
    parser.add_argument("--study", choices=["digits", "quickstart", "polarity"], default="digits")
    parser.add_argument("--cuts", help="some of the study's cuts, as 3,5")
    parser.add_argument("--rows", help="some of its rows of zo-projection, divided by semicolons")
    parser.add_argument("--steps", type=int, help="another sample budget, in batches")
    parser.add_argument("--text-folder", type=Path, help="polarity: as of benchmarks.training_accuracy")
    parser.add_argument("--checkpoint", type=Path, help="polarity: as of benchmarks.training_accuracy")


def study_of(arguments: argparse.Namespace) -> Study:
    """Return the study that the arguments name; everything runs on one thread from here on."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    if arguments.study == "polarity":
        study = polarity(arguments.checkpoint.resolve(), arguments.text_folder.resolve())
    else:
        study = digits() if arguments.study == "digits" else quickstart()
    return study if arguments.steps is None else study.with_steps(arguments.steps)


def settings_of(study: Study, arguments: argparse.Namespace) -> list[tuple[str, Row, int]]:
    """Return name, row and cut of the study's settings: its rows of ``zo-projection``, at all their cuts."""
    cuts = [int(cut) for cut in arguments.cuts.split(",")] if arguments.cuts else study.cuts
    return [
        (f"{study.name}, cut {cut}, {row.name}", row, cut)
        for cut in cuts
        for row in study.rows
        if row.mode == "zo-projection"
        and cut in row.exact
        and (not arguments.rows or row.name in arguments.rows.split(";"))
    ]
