"""What carries training out: one protocol, two implementations (in this process, or on Ray).

A *handle* stands for a global state and the optimizer states kept beside it; only an executor looks inside, so that on
a cluster no tensor passes through the driver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.runtime.worker.faults import ClientFault, first_to_diverge
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.scenarios.schema import Scenario

Handle = TypeVar("Handle")


@dataclass(frozen=True)
class RoundTask:
    """What is to be done in a round.

    Parameters
    ----------
    round
        Counts from 0.
    groups
        Who trains, and with whom.
    measure
        Clients whose peak memory is measured.
    """

    round: int
    groups: tuple[Group, ...]
    measure: frozenset[str] = frozenset()

    def without(self, clients: frozenset[str]) -> RoundTask:
        """Return the task without some clients."""
        groups = tuple(group.without(clients) for group in self.groups)
        return replace(self, groups=tuple(group for group in groups if group.members))

    def emulated(self) -> RoundTask:
        """Return the same groups, bound to no real device."""
        return replace(self, groups=tuple(group.emulated() for group in self.groups))


@dataclass(frozen=True)
class RoundOutcome(Generic[Handle]):
    """Outcome of a round.

    Parameters
    ----------
    handle
        The next global state.
    reports
        Of the clients whose training counts, in the order of the groups.
    faults
        Of the others.
    events
        What happened to workers, in words.
    averaged
        The scalars that moved the blocks all clients share directions in; None where there are none.
    """

    handle: Handle
    reports: tuple[ClientReport, ...]
    faults: tuple[ClientFault, ...] = ()
    events: tuple[str, ...] = ()
    averaged: AveragedRound | None = None


class Executor(Protocol[Handle]):
    """Runs clients and evaluation; results come in the order of the groups, never of arrival."""

    @property
    def computes_on(self) -> str:
        """The name of the devices that compute, which decide bits: see ``COMPUTE_DEVICES``."""

    def __enter__(self) -> Self:
        """Start workers."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop workers."""

    def initial_state(self) -> Handle:
        """Return the state training starts from."""

    def train_round(self, handle: Handle, task: RoundTask) -> RoundOutcome[Handle]:
        """Train the clients of all groups for one round from the same state, and average what they return."""

    def evaluate(self, handle: Handle) -> float:
        """Return the score of a global state on the test data."""

    def save(self, handle: Handle, folder: Path) -> None:
        """Write a state into a folder of this machine."""

    def load(self, folder: Path) -> Handle:
        """Read what :meth:`save` wrote."""

    def take_events(self) -> tuple[str, ...]:
        """Return what has happened to workers since the last call and is in no outcome of a round."""

    def fetch(self, handle: Handle) -> State:
        """Return the global state itself, in this process."""


def without_culprits(
    scenario: Scenario, task: RoundTask, train: Callable[[RoundTask], RoundOutcome[Handle]]
) -> RoundOutcome[Handle]:
    """Carry out a round with a shared server; it is repeated without a client that fails, which affects the server.

    Parameters
    ----------
    scenario
        Its fault policy decides whether to go on at all.
    task
        The round.
    train
        Carries it out.
    """
    faults: list[ClientFault] = []
    events: list[str] = []
    while True:
        outcome = train(task)
        culprits = first_to_diverge(outcome.faults, scenario.training.server_model)
        faults += culprits
        events += outcome.events
        left = task.without(frozenset(fault.client for fault in culprits))
        if not culprits or scenario.faults.policy == "fail" or not left.groups:
            return replace(outcome, faults=tuple(faults), events=tuple(events))
        task = left
