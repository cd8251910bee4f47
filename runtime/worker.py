"""What one worker process does: train groups of clients. Plain torch; executors call it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from runtime.aggregate import Contribution, EntryWeights, WeightedMean, is_finite, summed
from runtime.client import Assignment, ClientReport, ClientRound, run_client_round
from runtime.data import Dataset, head_size, load_dataset
from runtime.faults import ClientFault, FaultKind
from runtime.groups import Group
from runtime.models.build import build_blocks
from runtime.partition import draw_batch, partition
from runtime.split import SplitModel, State
from scenarios.schema import Scenario
from scenarios.units import format_bytes


@dataclass(frozen=True)
class GroupReport:
    """What is known of a group's round without its weights.

    Parameters
    ----------
    clients
        Of those whose training counts.
    faults
        Of those whose training does not count.
    """

    clients: tuple[ClientReport, ...]
    faults: tuple[ClientFault, ...]


@dataclass(frozen=True)
class GroupOutcome:
    """Outcome of a group's round.

    Parameters
    ----------
    report
        Metrics, traffic and faults.
    contribution
        Weighted mean of its clients' states.
    optimizer_states
        By client, where they are kept between rounds.
    """

    report: GroupReport
    contribution: Contribution
    optimizer_states: dict[str, State]


class Worker:
    """Holds one working model and the data, and serves any number of clients one after another.

    Parameters
    ----------
    scenario
        The scenario.
    num_threads
        Torch threads while computing; results differ in bits between numbers of threads, so every executor pins it.
    """

    def __init__(self, scenario: Scenario, num_threads: int = 1) -> None:
        torch.set_num_threads(num_threads)
        self._scenario = scenario

    # Loaded on first use: an error in an actor's constructor would reach the driver as a dead actor.

    def prepare(self) -> None:
        """Load data and model.

        Raises
        ------
        ScenarioError
            If they are not what the scenario says.
        """
        _ = self._indices, self._weights

    @cached_property
    def _dataset(self) -> Dataset:
        return load_dataset(self._scenario)

    @cached_property
    def _indices(self) -> Mapping[str, Tensor]:
        return partition(self._dataset.train, self._scenario)

    @cached_property
    def _model(self) -> SplitModel:
        return SplitModel(build_blocks(self._scenario, num_labels=head_size(self._scenario)))

    @cached_property
    def _weights(self) -> EntryWeights:
        return EntryWeights(self._model, self._scenario.training)

    def train_group(
        self,
        state: State,
        group: Group,
        round_index: int,
        measure: frozenset[str],
        optimizer_states: Mapping[str, State],
    ) -> GroupOutcome:
        """Train the clients of a group for one round.

        Parameters
        ----------
        state
            The global state.
        group
            Who; a chain trains on one another's weights.
        round_index
            Counts from 0.
        measure
            Clients whose peak memory is measured, and held against their budget.
        optimizer_states
            By client, what an earlier round kept.
        """
        mean = WeightedMean()
        reports: list[ClientReport] = []
        faults: list[ClientFault] = []
        kept: dict[str, State] = {}
        start = state
        for member in group.members:
            outcome = self.train_client(
                start, member, round_index, member.client in measure, optimizer_states.get(member.client)
            )
            fault = _fault_of(outcome, round_index)
            if fault is not None:
                faults.append(fault)
                continue
            reports.append(outcome.report)
            if outcome.optimizer_state:
                kept[member.client] = outcome.optimizer_state
            if group.chained:
                start = outcome.state
            else:
                mean.add(outcome.state, self._weights.of(member))
        if group.chained and reports:
            mean.add(start, summed([self._weights.of(report.assignment) for report in reports]))
        return GroupOutcome(GroupReport(tuple(reports), tuple(faults)), mean.contribution(state), kept)

    def train_client(
        self,
        state: State,
        assignment: Assignment,
        round_index: int,
        measure_memory: bool,
        optimizer_state: State | None,
    ) -> ClientRound:
        """Train one client for one round from a state."""
        index, samples = self._indices[assignment.client], self._dataset.train
        return run_client_round(
            self._model,
            state,
            assignment,
            lambda step: draw_batch(samples, index, self._scenario, assignment.client, step),
            self._scenario,
            round_index,
            measure_memory=measure_memory,
            optimizer_state=optimizer_state,
        )


def _fault_of(outcome: ClientRound, round_index: int) -> ClientFault | None:
    report, who = outcome.report, outcome.report.assignment
    if not (math.isfinite(report.train_loss) and is_finite(outcome.state)):
        finite = "finite" if is_finite(outcome.state) else "non-finite"
        found = f"a train loss of {report.train_loss} and {finite} weights"
        return ClientFault(who.client, round_index, FaultKind.NOT_FINITE, found)
    if report.peak_bytes is not None and report.peak_bytes > who.memory_budget_bytes:
        found = f"{format_bytes(report.peak_bytes)} of its budget of {format_bytes(who.memory_budget_bytes)}"
        return ClientFault(who.client, round_index, FaultKind.OVER_BUDGET, found, report.peak_bytes)
    return None
