"""One round of a shared server on Ray: all clients side by side, their workers calling one server process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import ray

from runtime.executors.base import RoundTask
from runtime.executors.ray_actors import KeptRef, StateRef
from runtime.executors.ray_cluster import errors_of_workers
from runtime.executors.ray_pool import Slot, WorkerPool, first_line
from runtime.executors.ray_shared import RemoteSide
from runtime.faults import ClientFault, FaultKind
from runtime.groups import Group
from runtime.shared_server import SERVER
from runtime.worker import GroupReport
from scenarios.errors import RunError
from scenarios.schema import Faults


@dataclass(frozen=True)
class SideBySideOutcome:
    """Outcome of a round, and where its weights lie.

    Parameters
    ----------
    reports
        By group, in the order of the round.
    order, parts
        Where each group's contribution lies: the part, and its place in it; the server's is the last.
    optimizer_states
        Where the optimizer state of each client lies, and of the server.
    """

    reports: tuple[GroupReport, ...]
    order: tuple[tuple[int, int], ...]
    parts: tuple[Any, ...]
    optimizer_states: dict[str, KeptRef]


class SideBySide:
    """Carries out rounds of a shared server.

    Parameters
    ----------
    pool
        The workers.
    start_server
        Starts the process of the shared server.
    faults
        The scenario's section.
    """

    def __init__(self, pool: WorkerPool, start_server: Callable[[], Any], faults: Faults) -> None:
        self._pool, self._start_server, self._limits = pool, start_server, faults
        self._server: Any = None
        self.events: list[str] = []

    def stop(self) -> None:
        """Kill the server."""
        if self._server is not None:
            ray.kill(self._server)
            self._server = None

    def take_events(self) -> list[str]:
        """Return what happened to processes since the last call."""
        events, self.events = self.events, []
        return events

    def carry_out(
        self, state: StateRef, optimizer_states: Mapping[str, KeptRef], task: RoundTask
    ) -> SideBySideOutcome | ClientFault:
        """Train all clients of a round, whatever happens to processes; return the fault where a client hangs.

        Raises
        ------
        RunError
            If processes cannot be kept alive.
        """
        for _ in range(self._limits.worker_retries + 1):
            try:
                return self._attempt(state, optimizer_states, task)
            except ray.exceptions.RayTaskError as error:
                if not isinstance(error.cause, ray.exceptions.RayError):
                    with errors_of_workers():
                        raise error from None
                lost = first_line(error)
            except ray.exceptions.RayError as error:
                lost = first_line(error)
            self.events.append(f"round {task.round + 1}: a process died ({lost}); the round is trained again")
            # Whoever waits for the server is set free by its end.
            self.stop()
        raise RunError(
            f"round {task.round + 1}: processes died {self._limits.worker_retries + 1} times in a row ({lost}); the "
            "likely cause is memory: use fewer --workers, or --executor inline"
        )

    def _attempt(
        self, state: StateRef, optimizer_states: Mapping[str, KeptRef], task: RoundTask
    ) -> SideBySideOutcome | ClientFault:
        self._await_workers()
        if self._server is None:
            self._server = self._start_server()
        members = [member for group in task.groups for member in group.members]
        own = [optimizer_states[SERVER]] if SERVER in optimizer_states else []
        ray.get(self._server.open.remote(state, members, task.round, own))
        link_of = partial(RemoteSide, self._server)
        shares = self._deal(task.groups)
        running: dict[Any, tuple[Slot, tuple[Any, ...]]] = {}
        for slot, positions in shares:
            groups = [task.groups[position] for position in positions]
            kept = {
                a.client: [optimizer_states[a.client]]
                for group in groups
                for a in group.members
                if a.client in optimizer_states
            }
            refs = slot.worker.train_side_by_side.options(num_returns=3).remote(
                [state], groups, task.round, task.measure, kept, link_of
            )
            running[refs[0]] = slot, tuple(refs)
        culprit = self._await(list(running), running, shares, task)
        if culprit is not None:
            return culprit
        return self._collect(shares, list(running.values()))

    def _await_workers(self) -> None:
        while starting := self._pool.starting():
            ready, _ = ray.wait(list(starting), num_returns=1)
            for ref in ready:
                self._pool.take_in(starting[ref])

    def _deal(self, groups: Sequence[Group]) -> list[tuple[Slot, list[int]]]:
        """Deal groups to workers in turn, so that neighbours in the order compute at the same time."""
        shares: list[tuple[Slot, list[int]]] = []
        for resource in dict.fromkeys(group.resource for group in groups):
            slots = [slot for slot in self._pool.ready() if slot.resource == resource]
            positions = [position for position, group in enumerate(groups) if group.resource == resource]
            shares += [(slot, positions[at :: len(slots)]) for at, slot in enumerate(slots)]
        return [(slot, positions) for slot, positions in shares if positions]

    def _await(
        self, waiting: list[Any], running: Mapping[Any, tuple[Slot, Any]], shares: Any, task: RoundTask
    ) -> ClientFault | None:
        limit_s = self._limits.client_timeout_s
        num_clients = sum(len(group.members) for group in task.groups)
        deadline_s = float("inf") if limit_s is None else monotonic() + limit_s * num_clients
        while waiting:
            timeout_s = None if limit_s is None else max(0.0, deadline_s - monotonic())
            ready, waiting = ray.wait(waiting, num_returns=1, timeout=timeout_s)
            for ref in ready:
                try:
                    ray.get(ref)
                except ray.exceptions.RayActorError:
                    self._pool.replace(running[ref][0])
                    raise
            if not ready:
                return self._hanging([running[ref][0] for ref in waiting], shares, task)
        return None

    def _hanging(
        self, unfinished: Sequence[Slot], shares: Sequence[tuple[Slot, list[int]]], task: RoundTask
    ) -> ClientFault:
        """Name the client that all others wait for, and replace its worker."""
        clients = {
            a.client: slot
            for slot, positions in shares
            if slot in unfinished
            for position in positions
            for a in task.groups[position].members
        }
        client = ray.get(self._server.whose_turn.remote())
        if client not in clients:
            # Nobody waits for the server: the first client of a worker that has not finished stands for it.
            client = next(iter(clients))
        self._pool.replace(clients[client])
        self.stop()
        found = f"the others had waited for it for {self._limits.client_timeout_s:g} s a client"
        self.events.append(f"round {task.round + 1}: {client} hangs; its worker was killed")
        return ClientFault(client, task.round, FaultKind.HANGS, found)

    def _collect(
        self, shares: Sequence[tuple[Slot, list[int]]], outcomes: Sequence[tuple[Slot, tuple[Any, ...]]]
    ) -> SideBySideOutcome:
        reports: dict[int, GroupReport] = {}
        places: dict[int, tuple[int, int]] = {}
        kept: dict[str, KeptRef] = {}
        for part, ((_, positions), (_, refs)) in enumerate(zip(shares, outcomes, strict=True)):
            for index, (position, report) in enumerate(zip(positions, ray.get(refs[0]), strict=True)):
                reports[position], places[position] = report, (part, index)
                kept |= {one.assignment.client: refs[2] for one in report.clients}
        contribution, own = self._server.close.options(num_returns=2).remote()
        kept[SERVER] = own
        order = (*(places[position] for position in sorted(places)), (len(outcomes), 0))
        parts = (*(refs[1] for _, refs in outcomes), contribution)
        return SideBySideOutcome(tuple(reports[position] for position in sorted(reports)), order, parts, kept)
