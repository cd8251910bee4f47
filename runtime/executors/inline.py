"""The reference executor: everything in this process, one client after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from hybridsplit.runtime.executors.base import RoundOutcome, RoundTask, without_culprits
from hybridsplit.runtime.executors.state_files import load_states, save_states
from hybridsplit.runtime.split.compute import CPU_ONLY, ComputeDevices, on_cpu
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.runtime.worker.faults import ClientFault
from hybridsplit.runtime.worker.model_server import ModelServer
from hybridsplit.runtime.worker.shared_server import SERVER
from hybridsplit.runtime.worker.worker import GroupOutcome, GroupReport, Worker
from hybridsplit.scenarios.schema import Scenario


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
    make_worker
        Makes the worker.
    devices
        Where it computes.
    """

    def __init__(
        self,
        scenario: Scenario,
        num_threads: int = 1,
        make_worker: Callable[[Scenario, int], Worker] | None = None,
        devices: ComputeDevices = CPU_ONLY,
    ) -> None:
        self._scenario, self._make = scenario, make_worker or partial(Worker, devices=devices)
        self._devices, self._until_the_end = devices, ExitStack()
        self._num_threads = num_threads
        self._threads_before = torch.get_num_threads()
        self._worker: Worker | None = None
        self._model_server: ModelServer | None = None

    @property
    def computes_on(self) -> str:
        """The name of the devices."""
        return self._devices.name

    def __enter__(self) -> Self:
        self._until_the_end.enter_context(self._devices.ready())
        self._worker = self._make(self._scenario, self._num_threads)
        self._model_server = ModelServer(self._scenario, self._num_threads, self._devices)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker = self._model_server = None
        self._until_the_end.close()
        torch.set_num_threads(self._threads_before)

    @property
    def _ready(self) -> Worker:
        assert self._worker is not None, "use the executor as a context manager"
        return self._worker

    @property
    def _server(self) -> ModelServer:
        assert self._model_server is not None, "use the executor as a context manager"
        return self._model_server

    def initial_state(self) -> InlineState:
        """Return the state training starts from."""
        return InlineState(self._server.initial_state())

    def train_round(self, handle: InlineState, task: RoundTask) -> RoundOutcome[InlineState]:
        """Train the clients of all groups for one round from the same state, and average what they return.

        Clients that are bound to real devices are emulated like the others, to the same bits.
        """
        task = task.emulated()
        if self._scenario.training.server_model != "per-client":
            return without_culprits(self._scenario, task, lambda rest: self._train_shared(handle, rest))
        earlier = handle.optimizer_states
        outcomes = (
            self._ready.train_group(handle.state, group, task.round, task.measure, earlier) for group in task.groups
        )
        return self._merge(handle, task, outcomes)

    def _train_shared(self, handle: InlineState, task: RoundTask) -> RoundOutcome[InlineState]:
        """Train all clients side by side against one server model."""
        members = [member for group in task.groups for member in group.members]
        server = self._ready.shared_server(members, task.round)
        keeps = self._scenario.training.optimizer_state == "keep"
        server.load_optimizer_state(handle.optimizer_states.get(SERVER, {}) if keeps else {})
        outcomes = self._ready.train_side_by_side(
            handle.state,
            task.groups,
            task.round,
            task.measure,
            handle.optimizer_states,
            lambda client: self._devices.linked(server.side(client)),
            after_step=server.end_step,
        )
        own = {SERVER: on_cpu(server.optimizer_state())} if keeps else {}
        return self._merge(handle, task, [*outcomes, GroupOutcome(GroupReport((), ()), server.contribution(), own)])

    def _merge(
        self, handle: InlineState, task: RoundTask, outcomes: Iterable[GroupOutcome]
    ) -> RoundOutcome[InlineState]:
        reports: list[ClientReport] = []
        faults: list[ClientFault] = []
        kept = dict(handle.optimizer_states)
        num_added = 0
        for position, outcome in enumerate(outcomes):
            self._server.add(position, outcome.contribution)
            reports += outcome.report.clients
            faults += outcome.report.faults
            kept |= outcome.optimizer_states
            num_added = position + 1
        if not reports:
            return RoundOutcome(handle, (), tuple(faults))
        averaged, state = self._server.finish(handle.state, num_added, task.round, reports)
        return RoundOutcome(InlineState(state, kept), tuple(reports), tuple(faults), averaged=averaged)

    def evaluate(self, handle: InlineState) -> float:
        """Return the score of a global state on the test data."""
        return self._server.evaluate(handle.state)

    def save(self, handle: InlineState, folder: Path) -> None:
        """Write a state into a folder."""
        save_states(folder, handle.state, handle.optimizer_states)

    def load(self, folder: Path) -> InlineState:
        """Read what :meth:`save` wrote."""
        return InlineState(*load_states(folder))

    def take_events(self) -> tuple[str, ...]:
        """Return nothing: there are no other processes."""
        return ()

    def fetch(self, handle: InlineState) -> State:
        """Return the global state."""
        return handle.state
