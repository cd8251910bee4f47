"""One client's round on a tiny model, with everything that a contract of modes looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from hybridsplit.profiler.models import TracedModel, traced_model
from hybridsplit.runtime.noise import NoiseKey
from hybridsplit.runtime.session.client import ClientSession
from hybridsplit.runtime.session.row_ids import needs_row_ids
from hybridsplit.runtime.session.server import ServerSide
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.modes import StepSizes
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.testing.families import family_batch, family_model, family_scenario

STEPS, DIRECTIONS = 2, 3
"""Steps of the round, and directions of an estimate."""
PADDED = frozenset({"bert"})
"""Families that get an attention mask."""


@dataclass
class Asked:
    """What a client asked of the server in a round."""

    gradients: int = 0
    trainings: int = 0
    losses: int = 0
    kept: int = 0
    trainings_on_kept: int = 0
    receives_scalars: bool = False


@dataclass
class _WatchedServer:
    """Passes everything on, and counts it."""

    server: ServerSide
    asked: Asked = field(default_factory=Asked)

    @property
    def trains_server(self) -> bool:
        """Whether there is a server part."""
        return self.server.trains_server

    def begin_step(self, key: NoiseKey) -> None:
        """Start a step."""
        self.server.begin_step(key)

    def exact(self, h: Tensor, batch: Batch, *, wants_gradient: bool) -> tuple[Tensor | None, float]:
        """Train on smashed data; λ comes back in their shape if wanted."""
        self.asked.trainings += 1
        self.asked.gradients += wants_gradient
        return self.server.exact(h, batch, wants_gradient=wants_gradient)

    def probe(self, h: Tensor, batch: Batch, *, keep: bool = False) -> Tensor:
        """Return the loss of smashed data, shape []."""
        self.asked.losses += 1
        self.asked.kept += keep
        return self.server.probe(h, batch, keep=keep)

    def exact_kept(self, batch: Batch) -> float:
        """Train on what was kept."""
        self.asked.trainings_on_kept += 1
        return self.server.exact_kept(batch)

    def share_scalars(self, scalars_P: Tensor, seeds_P: Tensor) -> Tensor:
        """Return the scalars to apply, [P]."""
        self.asked.receives_scalars = True
        return self.server.share_scalars(scalars_P, seeds_P)


@dataclass(frozen=True)
class Played:
    """A client's round.

    Parameters
    ----------
    scenario, traced, cut
        What was trained, and where it was cut.
    sizes
        What may cross in a step.
    start, on_client, state
        Weights before the round, on the client after it, and as the server knows them.
    report, asked
        What was measured, and what the server was asked for.
    """

    scenario: Scenario
    traced: TracedModel
    cut: int
    sizes: StepSizes
    start: State
    on_client: State
    state: State
    report: ClientReport
    asked: Asked

    def part_of(self, state: State) -> State:
        """Return the entries of the client part."""
        return {name: state[name] for name in self.on_client}


def play(mode: str, family: str, cut: int | str, *, micro_batches: int = 1) -> Played:
    """Play a round.

    Parameters
    ----------
    mode
        How the client part is trained.
    family
        One of :data:`hybridsplit.testing.families.FAMILIES`.
    cut
        Blocks on the client, or ``all``.
    micro_batches
        Parts that batches are trained in.
    """
    scenario, traced = scenario_with(family, mode), traced_with(family, mode)
    model = family_model(scenario)
    depth = model.num_blocks if isinstance(cut, str) else cut
    start = model.whole.snapshot()
    part = model.client_part(depth, mode)
    above, task = model.server_part(depth), scenario.model.loss_kind
    server = _WatchedServer(ServerSide(above, scenario.training, task, micro_batches=micro_batches))
    size = scenario.training.batch_size
    placement = Placement(cut=depth, mode=mode, batch_size=size, micro_batches=micro_batches)
    session = ClientSession(
        part, server, Assignment("pi-0", placement, 1.0, 1 << 40), scenario, 0,
        num_blocks=model.num_blocks, measure_memory=True,
    )  # fmt: skip
    padded = family in PADDED
    for step in range(STEPS):
        session.step(step, partial(family_batch, scenario, padded=padded, seed=step))
    on_client = {name: tensor.clone() for name, tensor in part.exchanged().items()}
    report = session.finish(start, {}, server.server.seconds)
    state = model.whole.snapshot()
    sizes = _sizes(model, scenario, mode, depth, family_batch(scenario, padded=padded))
    return Played(scenario, traced, depth, sizes, start, on_client, state, report, server.asked)


def _sizes(model: SplitModel, scenario: Scenario, mode: str, cut: int, batch: Batch) -> StepSizes:
    whole = cut == model.num_blocks
    with torch.no_grad():
        h = model.client_part(cut)(batch.inputs, batch.mask_BS)
    labels_name_rows = scenario.model.task == "causal-lm" and not whole
    row_ids = needs_row_ids(model.client_part(cut), mode, labels_name_rows=labels_name_rows)
    return StepSizes(
        smashed=0 if whole else h.nbytes,
        labels=batch.labels.nbytes + (0 if batch.mask_BS is None else batch.mask_BS.nbytes),
        row_ids=4 * batch.inputs.numel() if row_ids else 0,
    )


def traced_with(family: str, mode: str) -> TracedModel:
    """Return the model and a batch as shapes."""
    traced = traced_model(scenario_with(family, mode))
    if family not in PADDED:
        return traced
    mask_BS = torch.empty(traced.batch.inputs.shape, dtype=torch.bool, device="meta")
    return TracedModel(traced.model, Batch(traced.batch.inputs, traced.batch.labels, mask_BS), traced.memo)


def scenario_with(family: str, mode: str) -> Scenario:
    """Return the family's scenario, with this mode only."""
    return family_scenario(
        family, modes=[mode], local_steps=STEPS,
        zeroth_order={"directions": DIRECTIONS, "optimizer": {"name": "sgd", "learning_rate": 1e-3}},
    )  # fmt: skip
