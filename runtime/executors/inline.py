"""The reference executor: everything in this process, one client after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from runtime.client import ClientReport
from runtime.executors.base import RoundOutcome, RoundTask
from runtime.executors.state_files import load_states, save_states
from runtime.faults import ClientFault
from runtime.model_server import ModelServer
from runtime.split import State
from runtime.worker import Worker
from scenarios.schema import Scenario


@dataclass(frozen=True)
class InlineState:
    """A global state, and the optimizer states of clients where they are kept."""

    state: State
    optimizer_states: Mapping[str, State] = field(default_factory=dict)


class InlineExecutor:
    """Trains in this process.

    Parameters
    ----------
    scenario
        The scenario.
    num_threads
        Torch threads; restored on exit.
    """

    def __init__(self, scenario: Scenario, num_threads: int = 1) -> None:
        self._scenario = scenario
        self._num_threads = num_threads
        self._threads_before = torch.get_num_threads()
        self._worker: Worker | None = None
        self._model_server: ModelServer | None = None

    def __enter__(self) -> Self:
        self._worker = Worker(self._scenario, self._num_threads)
        self._model_server = ModelServer(self._scenario, self._num_threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker = self._model_server = None
        torch.set_num_threads(self._threads_before)

    @property
    def _server(self) -> ModelServer:
        assert self._model_server is not None, "use the executor as a context manager"
        return self._model_server

    def initial_state(self) -> InlineState:
        """Return the state training starts from."""
        return InlineState(self._server.initial_state())

    def train_round(self, handle: InlineState, task: RoundTask) -> RoundOutcome[InlineState]:
        """Train the clients of all groups for one round from the same state, and average what they return."""
        assert self._worker is not None, "use the executor as a context manager"
        reports: list[ClientReport] = []
        faults: list[ClientFault] = []
        kept = dict(handle.optimizer_states)
        for position, group in enumerate(task.groups):
            outcome = self._worker.train_group(handle.state, group, task.round, task.measure, handle.optimizer_states)
            self._server.add(position, outcome.contribution)
            reports += outcome.report.clients
            faults += outcome.report.faults
            kept |= outcome.optimizer_states
        state = self._server.finish(handle.state, len(task.groups))
        return RoundOutcome(InlineState(state, kept), tuple(reports), tuple(faults))

    def evaluate(self, handle: InlineState) -> float:
        """Return the test accuracy of a global state."""
        return self._server.evaluate(handle.state)

    def save(self, handle: InlineState, folder: Path) -> None:
        """Write a state into a folder."""
        save_states(folder, handle.state, handle.optimizer_states)

    def load(self, folder: Path) -> InlineState:
        """Read what :meth:`save` wrote."""
        return InlineState(*load_states(folder))

    def fetch(self, handle: InlineState) -> State:
        """Return the global state."""
        return handle.state
