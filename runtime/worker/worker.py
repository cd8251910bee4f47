"""What one worker process does: train groups of clients. Plain torch; executors call it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hybridsplit.runtime.aggregation.weighted_mean import Contribution, EntryWeights, WeightedMean, is_finite, summed
from hybridsplit.runtime.data.partition import draw_batch, partition
from hybridsplit.runtime.data.sources import Dataset, load_dataset
from hybridsplit.runtime.data.split_models import split_model
from hybridsplit.runtime.session.client import run_client_round
from hybridsplit.runtime.split.compute import CPU_ONLY, ComputeDevices, moved, on_cpu
from hybridsplit.runtime.split.learning_rates import training_at_round
from hybridsplit.runtime.split.link import Batch, TimedLink
from hybridsplit.runtime.split.parts import SplitModel, State
from hybridsplit.runtime.split.reports import ClientReport, ClientRound
from hybridsplit.runtime.worker.faults import ClientFault, FaultKind
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.shared_server import SharedServer
from hybridsplit.runtime.worker.side_by_side import SideBySideClients, client_blocks_mean
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import format_bytes


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
    devices
        Where it computes. What it returns is on the CPU.
    """

    def __init__(self, scenario: Scenario, num_threads: int = 1, devices: ComputeDevices = CPU_ONLY) -> None:
        torch.set_num_threads(num_threads)
        self._scenario, self._devices = scenario, devices

    # Loaded on first use: an error in an actor's constructor would reach the driver as a dead actor.

    def prepare(self) -> None:
        """Load data and model, in a process that is the worker's own.

        Raises
        ------
        ScenarioError
            If they are not what the scenario says.
        RunError
            If there is no GPU, and one is needed.
        """
        self._devices.begin()
        _ = self._indices, self._weights

    @cached_property
    def _dataset(self) -> Dataset:
        return load_dataset(self._scenario)

    @cached_property
    def _indices(self) -> Mapping[str, Tensor]:
        return partition(self._dataset.train, self._scenario)

    @cached_property
    def _model(self) -> SplitModel:
        return split_model(self._scenario, dataset=self._dataset)

    @cached_property
    def _weights(self) -> EntryWeights:
        return EntryWeights(self._model, self._scenario.training)

    def load(self, state: State) -> None:
        """Copy a state into the working model."""
        self._model.whole.load(state)

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
                start = {name: tensor.clone() for name, tensor in outcome.state.items()}
            else:
                mean.add(outcome.state, self._weights.of(member))
        if group.chained and reports:
            mean.add(start, summed([self._weights.of(report.assignment) for report in reports]))
        return GroupOutcome(GroupReport(tuple(reports), tuple(faults)), mean.contribution(state), kept)

    def train_side_by_side(
        self,
        state: State,
        groups: Sequence[Group],
        round_index: int,
        measure: frozenset[str],
        optimizer_states: Mapping[str, State],
        link_of: Callable[[str], TimedLink],
        before_client: Callable[[str], None] = lambda client: None,
        after_step: Callable[[], None] = lambda: None,
    ) -> list[GroupOutcome]:
        """Train the clients of groups against a shared server, step by step.

        Parameters
        ----------
        state, round_index, measure, optimizer_states
            As for :meth:`train_group`.
        groups
            Who; in every step they take their turns in this order.
        link_of
            Returns a client's link to the server.
        before_client
            Called before every step of every client.
        after_step
            Called when all have taken a step.
        """
        clients = SideBySideClients(
            self._model, state, groups, self._scenario, round_index, measure, optimizer_states, link_of, self._devices
        )  # fmt: skip
        with self._devices.computing():
            for step in range(self._scenario.training.local_steps):
                for member in clients.members:
                    before_client(member.client)
                    clients.step(step, member, self._draw)
                after_step()
            rounds = {client: self._returned(outcome) for client, outcome in clients.finish().items()}
        return [self._outcome(state, [rounds[a.client] for a in group.members], round_index) for group in groups]

    def _outcome(self, state: State, rounds: Sequence[ClientRound], round_index: int) -> GroupOutcome:
        faults = [_fault_of(outcome, round_index) for outcome in rounds]
        good = [outcome for outcome, fault in zip(rounds, faults, strict=True) if fault is None]
        report = GroupReport(tuple(o.report for o in good), tuple(fault for fault in faults if fault is not None))
        kept = {o.report.assignment.client: o.optimizer_state for o in good if o.optimizer_state}
        return GroupOutcome(report, client_blocks_mean(good, self._weights).contribution(state), kept)

    def shared_server(self, assignments: Sequence[Assignment], round_index: int) -> SharedServer:
        """Return a server model on the blocks of this worker's working model, which holds the round's state by then."""
        training = training_at_round(self._scenario.training, round_index)
        self._devices.place(self._model, 0)
        return SharedServer(self._model, training, self._scenario.model.loss_kind, assignments)

    def _draw(self, assignment: Assignment, global_step: int) -> Batch:
        samples, index = self._dataset.train, self._indices[assignment.client]
        batch = draw_batch(
            samples, index, self._scenario, assignment.client, global_step, batch_size=assignment.placement.batch_size
        )
        return batch if self._devices.all_cpu else moved(batch, self._devices.client)

    def train_client(
        self,
        state: State,
        assignment: Assignment,
        round_index: int,
        measure_memory: bool,
        optimizer_state: State | None,
    ) -> ClientRound:
        """Train one client for one round; what is returned is valid until the next client.

        Parameters
        ----------
        state
            The state to start from.
        assignment, round_index
            The client's option, and the round, counted from 0.
        measure_memory
            Whether to measure its peak.
        optimizer_state
            What an earlier round kept; None to start without.
        """
        with self._devices.computing():
            outcome = run_client_round(
                self._model,
                state,
                assignment,
                lambda global_step: self._draw(assignment, global_step),
                self._scenario,
                round_index,
                measure_memory=measure_memory,
                optimizer_state=optimizer_state,
                copy_state=False,
                devices=self._devices,
            )
            return self._returned(outcome)

    def _returned(self, outcome: ClientRound) -> ClientRound:
        if self._devices.all_cpu:
            return outcome
        return replace(outcome, state=on_cpu(outcome.state), optimizer_state=on_cpu(outcome.optimizer_state))


def _fault_of(outcome: ClientRound, round_index: int) -> ClientFault | None:
    report, who = outcome.report, outcome.report.assignment
    state_is_finite = is_finite(outcome.state)
    if not (math.isfinite(report.train_loss) and state_is_finite):
        finite = "finite" if state_is_finite else "non-finite"
        observed = f"a train loss of {report.train_loss} and {finite} weights"
        return ClientFault(who.client, round_index, FaultKind.NOT_FINITE, observed, step=report.diverged_at_step)
    if report.peak_bytes is not None and report.peak_bytes > who.memory_budget_bytes:
        observed = f"{format_bytes(report.peak_bytes)} of its budget of {format_bytes(who.memory_budget_bytes)}"
        return ClientFault(who.client, round_index, FaultKind.OVER_BUDGET, observed, report.peak_bytes)
    for step, (peaks, allowed) in enumerate(zip(report.step_peaks, who.steps, strict=False)):
        for peak_bytes, budget_bytes in zip(peaks, (allowed.before_bytes, allowed.after_bytes), strict=True):
            if peak_bytes > budget_bytes:
                observed = f"{format_bytes(peak_bytes)} of the {format_bytes(budget_bytes)} it had in step {step}"
                return ClientFault(who.client, round_index, FaultKind.OVER_BUDGET, observed, peak_bytes)
    return None
