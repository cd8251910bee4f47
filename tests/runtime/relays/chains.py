"""Random vectors of cuts over a family's blocks, and their training, alone and over one cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hybridsplit.runtime.relays.session import run_relay_round
from hybridsplit.runtime.relays.upper import MachinesHere
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.link import Batch
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.runtime.split.reports import ClientRound
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.contracts.stages import Stage, Stages
from hybridsplit.scenarios.schema import Scenario

CLIENT = "pi-0"


def stages_at(cuts: tuple[int, ...], num_blocks: int, micro_batches: int = 1, warm_ups: tuple[int, ...] = ()) -> Stages:
    """The machines of a client with these cuts; equal ones leave a machine nothing but forwarding."""
    ends = (*cuts, num_blocks)
    depths = warm_ups or (1,) * len(ends)
    starts = (0, *cuts)
    names = (CLIENT, *(f"relay-{k}" for k in range(1, len(ends))))
    path = [
        Stage(name, start, stop, depth if start < stop else micro_batches)
        for name, start, stop, depth in zip(names, starts, ends, depths, strict=True)
    ]
    return Stages(tuple(path), micro_batches)


def random_stages(rng: np.random.Generator, num_blocks: int, micro_batches: int = 1) -> Stages:
    """Up to four cuts, and warm-up depths that do not rise along the path."""
    number = int(rng.integers(1, 5))
    cuts = tuple(sorted(int(cut) for cut in rng.integers(0, num_blocks + 1, number)))
    depths = tuple(sorted((int(depth) for depth in rng.integers(1, micro_batches + 1, number + 1)), reverse=True))
    return stages_at(cuts, num_blocks, micro_batches, depths)


def assignment_of(stages: Stages, batch_size: int) -> Assignment:
    """A client over these machines."""
    placement = Placement(cut=max(1, stages.path[0].stop), mode="fo", batch_size=batch_size)
    return Assignment(CLIENT, placement, 1.0, 1 << 40, stages=stages)


def trained(
    model: SplitModel,
    start: State,
    scenario: Scenario,
    stages: Stages,
    batches: list[Batch],
    *,
    measure: bool = False,
    round_index: int = 0,
    kept: State | None = None,
) -> ClientRound:
    """A round of a client over its machines, all in this process."""
    model.whole.load(start)
    outcome = run_relay_round(
        model,
        assignment_of(stages, scenario.training.batch_size),
        lambda step: batches[step % len(batches)],
        scenario,
        round_index,
        lambda states: MachinesHere(model, stages, scenario, round_index, states, measure_memory=measure),
        measure_memory=measure,
        optimizer_state=kept,
    )
    # The working copy's own tensors, good until its next use.
    return replace(outcome, state={name: tensor.clone() for name, tensor in outcome.state.items()})


def trained_over_one_cut(
    model: SplitModel, start: State, scenario: Scenario, cut: int, batches: list[Batch]
) -> ClientRound:
    """A round of the same client over one cut."""
    placement = Placement(cut=cut, mode="fo", batch_size=scenario.training.batch_size)
    return run_client_round(
        model,
        start,
        Assignment(CLIENT, placement, 1.0, 1 << 40),
        lambda step: batches[step % len(batches)],
        scenario,
        0,
        measure_memory=False,
    )


def assert_same_bits(one: State, other: State) -> None:
    """All entries equal, bit by bit."""
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
