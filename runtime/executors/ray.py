"""The Ray executor: a pool of worker processes serves any number of emulated clients.

Clients are data, workers are processes: a torch process costs about 170 MiB, so an actor per client would die at a
hundred clients. The driver holds references only; states go from worker to worker through Ray's object store, as
safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import ray
from safetensors.torch import load

from hybridsplit.runtime.aggregation.scalar_log import AveragedRound
from hybridsplit.runtime.executors.base import RoundOutcome, RoundTask, without_culprits
from hybridsplit.runtime.executors.ray_actors import KeptRef, RayModelServer, RayState, RayWorker, StateRef
from hybridsplit.runtime.executors.ray_cluster import RayCluster, errors_of_workers, is_raised_by_worker
from hybridsplit.runtime.executors.ray_dispatch import Dispatch, TrainedGroup
from hybridsplit.runtime.executors.ray_living import LivingProcess
from hybridsplit.runtime.executors.ray_places import Places
from hybridsplit.runtime.executors.ray_pool import WorkerPool, first_line
from hybridsplit.runtime.executors.ray_shared import RaySharedServer
from hybridsplit.runtime.executors.ray_side_by_side import SideBySide
from hybridsplit.runtime.executors.ray_waiting import lost_process, result_of
from hybridsplit.runtime.split.compute import CPU_ONLY, ComputeDevices
from hybridsplit.runtime.split.parts import State
from hybridsplit.runtime.worker.faults import ClientFault
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.worker import GroupReport, Worker
from hybridsplit.scenarios.schema import Scenario

_Result = TypeVar("_Result")

_HELD_BYTES = 16 << 20
"""Bytes of states that a worker may collect and return together: a tenth of what its process takes anyway."""


@dataclass(frozen=True)
class _Trained:
    """Outcome of a round before it is averaged.

    ``add_contributions`` asks the model server to add the contributions, ``num_groups`` of them.
    """

    reports: list[GroupReport]
    optimizer_states: Mapping[str, KeptRef]
    add_contributions: Callable[[Any], list[Any]]
    num_groups: int


class RayExecutor:
    """Trains on a Ray cluster.

    Parameters
    ----------
    scenario
        The scenario.
    num_workers
        Worker processes, one core each, beside those on real devices that clients are bound to.
    num_threads
        Torch threads of each process.
    address
        Address of a running cluster; None starts one on this machine for the run.
    make_worker
        Makes the worker inside its process.
    devices
        Where workers and servers compute.
    """

    worker_class: type[RayWorker] = RayWorker
    """The process of a worker."""

    def __init__(
        self,
        scenario: Scenario,
        num_workers: int,
        num_threads: int = 1,
        address: str | None = None,
        make_worker: Callable[[Scenario, int], Worker] | None = None,
        devices: ComputeDevices = CPU_ONLY,
    ) -> None:
        self._scenario, self._num_workers, self._num_threads = scenario, num_workers, num_threads
        self._make, self._devices = make_worker or partial(Worker, devices=devices), devices
        self._cluster = RayCluster(address, num_workers)
        self._server: LivingProcess | None = None
        self._workers: WorkerPool | None = None
        self._side_by_side: SideBySide | None = None
        self.events: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as until_it_runs:
            until_it_runs.enter_context(self._cluster)
            retries = self._scenario.faults.worker_retries
            self._server = LivingProcess(self._start_server, "the model server", retries, self._say)
            self._workers = WorkerPool(self._start_worker, self._num_workers)
            until_it_runs.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if lost_process() is None:
            self._stop_actors()  # of a cluster that has died nobody would answer
        self._side_by_side = self._workers = self._server = None
        self._cluster.__exit__(kind, error, trace)

    def _stop_actors(self) -> None:
        for process in (self._side_by_side, self._workers, self._server):
            if process is not None:
                process.stop()

    def _say(self, event: str) -> None:
        self.events.append(event)

    @property
    def _pool(self) -> WorkerPool:
        assert self._workers is not None, "use the executor as a context manager"
        return self._workers

    @property
    def computes_on(self) -> str:
        """The name of the devices."""
        return self._devices.name

    @cached_property
    def _places(self) -> Places:
        return Places.of(self._devices, self._num_workers)

    def _start_worker(self, resource: str | None) -> Any:
        actor = ray.remote(**self._places.worker(resource))(self.worker_class)
        return actor.remote(self._make, self._scenario, self._num_threads)

    def _start_server(self) -> Any:
        options, devices = self._places.model_server()
        return ray.remote(**options)(RayModelServer).remote(self._scenario, self._num_threads, devices)

    def _start_shared_server(self) -> Any:
        # Each client of a round may have a request that waits for its turn.
        options = self._places.shared_server(max(1000, self._scenario.num_clients))
        return ray.remote(**options)(RaySharedServer).remote(self._scenario, self._num_threads, self._devices)

    def _on_server(self, ask: Callable[[Any], _Result], what: str) -> _Result:
        return self._model_server.on(ask, what)

    def _served(self, task: Callable[[Any], Any], what: str) -> Any:
        return self._on_server(lambda server: result_of(task(server), f"the model server: {what}"), what)

    @property
    def _model_server(self) -> LivingProcess:
        assert self._server is not None, "use the executor as a context manager"
        return self._server

    def initial_state(self) -> RayState:
        """Return the state training starts from."""

        def ask(server: Any) -> RayState:
            done, state = server.initial_state.options(num_returns=2).remote()
            result_of(done, "the model server to build the model")
            return RayState(state)

        with errors_of_workers():
            return self._on_server(ask, "it built the model")

    def train_round(self, handle: RayState, task: RoundTask) -> RoundOutcome[RayState]:
        """Train the clients of all groups for one round from the same state, and average what they return."""
        for resource in dict.fromkeys(group.resource for group in task.groups):
            if resource is not None:
                self._pool.bind(resource, self._cluster.offers(resource))
        if self._scenario.training.server_model != "per-client":
            return without_culprits(self._scenario, task, lambda rest: self._attempts(handle, rest, self._shared))
        return self._attempts(handle, task, self._parallel)

    def _attempts(
        self, handle: RayState, task: RoundTask, train: Callable[[RayState, RoundTask], _Trained]
    ) -> RoundOutcome[RayState]:
        for attempt in range(self._scenario.faults.worker_retries + 1):
            trained = train(handle, task)
            try:
                return self._merge(handle, task, trained)
            except ray.exceptions.RayError as error:
                if is_raised_by_worker(error) or attempt == self._scenario.faults.worker_retries:
                    with errors_of_workers():
                        raise
                self.events.append(
                    f"round {task.round + 1}: states were lost with the machine that held them ({first_line(error)}); "
                    "the round is trained again"
                )
        raise AssertionError("unreachable")

    @cached_property
    def _most_at_once(self) -> int:
        """Groups whose states a worker may hold together: they are to be small beside the process itself."""
        if self._scenario.training.optimizer_state == "keep":
            # They live on after the round, and would keep one another alive.
            return 1
        with errors_of_workers():
            size: int = self._served(lambda server: server.state_bytes.remote(), "it built the model")
        return max(1, _HELD_BYTES // max(1, size))

    def _parallel(self, handle: RayState, task: RoundTask) -> _Trained:
        """Train groups, each on whichever worker is free."""
        known = handle.optimizer_states

        def submit(worker: Any, groups: Sequence[Group]) -> tuple[Any, ...]:
            members = [member.client for group in groups for member in group.members]
            kept = {client: [known[client]] for client in members if client in known}
            refs: list[Any] = worker.train_groups.options(num_returns=3).remote(
                [handle.state], groups, task.round, task.measure, kept, *self._beside_groups()
            )
            return tuple(refs)

        def add(server: Any, first: int, groups: Sequence[TrainedGroup]) -> Any:
            parts = list(dict.fromkeys(group.part for group in groups))
            return server.add.remote(first, [(parts.index(group.part), group.index) for group in groups], *parts)

        # Contributions are added while others still train; if the model server dies meanwhile, all are added again.
        added: list[Any] = []
        dispatch = Dispatch(
            self._pool, task, self._scenario.faults, submit,
            lambda first, groups: added.append(add(self._model_server.actor, first, groups)), self._most_at_once,
            self._on_loss,
        )  # fmt: skip
        trained = dispatch.carry_out()
        self.events += dispatch.events

        def add_contributions(server: Any) -> list[Any]:
            early = added[:]
            added.clear()
            return early or [add(server, 0, trained)]

        return _Trained(
            [group.report for group in trained],
            {r.assignment.client: group.optimizer_states for group in trained for r in group.report.clients},
            add_contributions,
            len(trained),
        )

    def _beside_groups(self) -> Sequence[Any]:
        """Return what workers need to train groups, beyond these."""
        return ()

    def _on_loss(self) -> None:
        """Take note that a process has died, or took too long, while groups were trained."""

    def _shared(self, handle: RayState, task: RoundTask) -> _Trained:
        """Train all clients side by side against one server model in a process of its own."""
        if self._side_by_side is None:
            self._side_by_side = SideBySide(self._pool, self._start_shared_server, self._scenario.faults)
        outcome = self._side_by_side.carry_out(handle.state, handle.optimizer_states, task)
        self.events += self._side_by_side.take_events()
        if isinstance(outcome, ClientFault):
            return _Trained([GroupReport((), (outcome,))], {}, lambda server: [], 0)
        return _Trained(
            list(outcome.reports),
            outcome.optimizer_states,
            lambda server: [server.add.remote(0, outcome.order, *outcome.parts)],
            len(outcome.order),
        )

    def _merge(self, handle: RayState, task: RoundTask, trained: _Trained) -> RoundOutcome[RayState]:
        reports = tuple(report for group in trained.reports for report in group.clients)
        faults = tuple(fault for group in trained.reports for fault in group.faults)
        # Only scalars that are averaged are read from them there.
        read = reports if self._scenario.training.zo_prefix_blocks else ()
        arguments = handle.state, trained.num_groups, task.round, read

        def ask(server: Any) -> tuple[AveragedRound | None, StateRef]:
            added = trained.add_contributions(server)
            done, state = server.finish.options(num_returns=2).remote(*arguments)
            what = f"the model server to average round {task.round + 1}"
            result_of(added, what)
            return result_of(done, what), state

        if not reports:
            return RoundOutcome(handle, (), faults, self.take_events())
        averaged, state = self._on_server(ask, "it averaged states")
        keeps = self._scenario.training.optimizer_state == "keep"
        kept = {**handle.optimizer_states, **trained.optimizer_states} if keeps else {}
        return RoundOutcome(RayState(state, kept), reports, faults, self.take_events(), averaged)

    def take_events(self) -> tuple[str, ...]:
        """Return what has happened to processes since the last call."""
        events, self.events = tuple(self.events), []
        return events

    def evaluate(self, handle: RayState) -> float:
        """Return the score of a global state on the test data."""
        with errors_of_workers():
            return float(self._served(lambda server: server.evaluate.remote(handle.state), "it evaluated"))

    def save(self, handle: RayState, folder: Path) -> None:
        """Write a state into a folder of this machine."""
        kept = {client: [ref] for client, ref in handle.optimizer_states.items()}
        with errors_of_workers():
            self._served(lambda server: server.save.remote(handle.state, kept, folder.resolve()), "it saved a state")

    def load(self, folder: Path) -> RayState:
        """Read what :meth:`save` wrote."""

        def ask(server: Any) -> RayState:
            what = "the model server to read a checkpoint"
            clients: list[str] = result_of(server.kept_clients.remote(folder.resolve()), what)
            done, state, *kept = server.load.options(num_returns=2 + len(clients)).remote(folder.resolve(), clients)
            result_of(done, what)
            return RayState(state, dict(zip(clients, kept, strict=True)))

        with errors_of_workers():
            return self._on_server(ask, "it read a state")

    def fetch(self, handle: RayState) -> State:
        """Return the global state itself, in this process."""
        with errors_of_workers():
            return dict(load(result_of(handle.state, "the final weights")))
