"""One round of a shared server on Ray: all clients side by side, their workers calling one server process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import ray

from hybridsplit.runtime.executors.base import RoundTask
from hybridsplit.runtime.executors.ray_actors import KeptRef, StateRef
from hybridsplit.runtime.executors.ray_cluster import errors_of_workers, is_raised_by_worker
from hybridsplit.runtime.executors.ray_pool import PLACEMENT_LIMIT_S, Slot, WorkerPool, first_line, no_place
from hybridsplit.runtime.executors.ray_shared import Announcer, RemoteSide, announce_nothing
from hybridsplit.runtime.executors.ray_waiting import START_LIMIT_S, alive, first_of, result_of
from hybridsplit.runtime.worker.faults import ClientFault, FaultKind
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.shared_server import SERVER
from hybridsplit.runtime.worker.worker import GroupReport
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Faults

_PATIENCE_S = 20.0
"""How long a run waits, once, for workers beyond the first."""


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
        self._patience_s = _PATIENCE_S
        self._died_over: str | None = None
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
        """Train all clients of a round, whatever happens to processes.

        Parameters
        ----------
        state, optimizer_states
            Where the global state lies, and by client (and for the server) what an earlier round kept.
        task
            The round.

        Returns
        -------
        The outcome, or the fault of one client that hangs or kills its workers.

        Raises
        ------
        RunError
            If processes cannot be kept alive, and no client is found to be the reason.
        """
        retries = self._limits.worker_retries
        deaths: list[str | None] = []
        for attempt in range(retries + 1):
            # Reporting each client costs a round trip a step, so it is done only where a failing client may have to be
            # found.
            announces = attempt > 0 or retries == 0 or self._limits.client_timeout_s is not None
            self._died_over = None
            try:
                return self._attempt(state, optimizer_states, task, announces)
            except ray.exceptions.RayError as error:
                if is_raised_by_worker(error):
                    with errors_of_workers():
                        raise error from None
                lost = first_line(error)
            if announces:
                deaths.append(self._died_over)
            self.events.append(f"round {task.round + 1}: a process died ({lost}); the round is trained again")
            # Workers that wait for the server get an error when it ends.
            self.stop()
            self._pool.check()
        culprit = deaths[0] if len(set(deaths)) == 1 else None
        if culprit is not None:
            observed = f"{len(deaths)} workers in a row died while they trained it"
            return ClientFault(culprit, task.round, FaultKind.KILLS_WORKERS, observed)
        raise RunError(
            f"round {task.round + 1}: processes died {retries + 1} times in a row ({lost}); the "
            "likely cause is memory: use fewer --workers, or --executor inline"
        )

    def _attempt(
        self, state: StateRef, optimizer_states: Mapping[str, KeptRef], task: RoundTask, announces: bool
    ) -> SideBySideOutcome | ClientFault:
        self._await_workers(task)
        if self._server is None:
            self._server = alive(self._start_server, "the shared server")
        members = [member for group in task.groups for member in group.members]
        own = [optimizer_states[SERVER]] if SERVER in optimizer_states else []
        what = f"the shared server to begin round {task.round + 1}"
        result_of(self._server.open.remote(state, members, task.round, own), what)
        link_of = partial(RemoteSide, self._server)
        shares = self._divide(task.groups)
        running: dict[Any, tuple[Slot, tuple[Any, ...]]] = {}
        for number, (slot, positions) in enumerate(shares):
            groups = [task.groups[position] for position in positions]
            kept = {
                a.client: [optimizer_states[a.client]]
                for group in groups
                for a in group.members
                if a.client in optimizer_states
            }
            announce = Announcer(self._server, number) if announces else announce_nothing
            refs = slot.worker.train_side_by_side.options(num_returns=3).remote(
                [state], groups, task.round, task.measure, kept, link_of, announce
            )
            running[refs[0]] = slot, tuple(refs)
        culprit = self._await(list(running), shares, task)
        if culprit is not None:
            return culprit
        return self._collect(shares, list(running.values()))

    def _await_workers(self, task: RoundTask) -> None:
        """Wait for one worker of every kind that is needed, and, at first, some time for the others."""
        needed = {group.resource for group in task.groups}
        until_s = monotonic() + PLACEMENT_LIMIT_S
        while starting := self._pool.starting():
            lacks = bool(needed - {slot.resource for slot in self._pool.ready()})
            limit_s = until_s - monotonic() if lacks else self._patience_s
            ready, _ = first_of(list(starting), max(0.0, min(limit_s, START_LIMIT_S)), "workers to load model and data")
            for ref in ready:
                if not self._pool.take_in(starting[ref]):
                    self.events.append(f"round {task.round + 1}: a worker had died; another one was started")
            if not ready and lacks:
                if monotonic() >= until_s:
                    raise no_place()
                if num_replaced := self._pool.replace_unborn():
                    self.events.append(
                        f"round {task.round + 1}: {num_replaced} workers had not come to life; others were started"
                    )
                continue
            if not ready:
                # Workers that start later take part in later rounds: the bits do not depend on the workers.
                self._patience_s = 0.0
                return

    def _divide(self, groups: Sequence[Group]) -> list[tuple[Slot, list[int]]]:
        """Divide groups among workers round robin, so that neighbours in the order compute at the same time."""
        shares: list[tuple[Slot, list[int]]] = []
        for resource in dict.fromkeys(group.resource for group in groups):
            slots = [slot for slot in self._pool.ready() if slot.resource == resource]
            positions = [position for position, group in enumerate(groups) if group.resource == resource]
            shares += [(slot, positions[at :: len(slots)]) for at, slot in enumerate(slots)]
        return [(slot, positions) for slot, positions in shares if positions]

    def _await(
        self, waiting: list[Any], shares: Sequence[tuple[Slot, list[int]]], task: RoundTask
    ) -> ClientFault | None:
        limit_s = self._limits.client_timeout_s
        num_clients = sum(len(group.members) for group in task.groups)
        deadline_s = float("inf") if limit_s is None else monotonic() + limit_s * num_clients
        number_of = {ref: number for number, ref in enumerate(waiting)}
        while waiting:
            timeout_s = None if limit_s is None else max(0.0, deadline_s - monotonic())
            ready, waiting = first_of(waiting, timeout_s, f"the clients of round {task.round + 1}")
            for ref in ready:
                try:
                    result_of(ref, f"round {task.round + 1}")
                except ray.exceptions.RayActorError:
                    self._died_over = self._at_work().get(number_of[ref])
                    self._pool.replace(shares[number_of[ref]][0])
                    raise
            if not ready:
                return self._hanging([number_of[ref] for ref in waiting], shares, task)
        return None

    def _at_work(self) -> dict[int, str]:
        try:
            at_work: dict[int, str] = result_of(self._server.at_work.remote(), "the shared server")
        except ray.exceptions.RayError:
            return {}
        return at_work

    def _hanging(
        self, unfinished: Sequence[int], shares: Sequence[tuple[Slot, list[int]]], task: RoundTask
    ) -> ClientFault:
        """Name the client that all others wait for, and replace its worker."""
        turn = result_of(self._server.whose_turn.remote(), "the shared server")
        of_turn = (
            number
            for number in unfinished
            if turn in {a.client for position in shares[number][1] for a in task.groups[position].members}
        )
        # All wait for the worker whose turn it is; it may be at a client that has the whole model and no turn.
        number = next(of_turn, unfinished[0])
        first = task.groups[shares[number][1][0]].members[0].client
        client = self._at_work().get(number, first)
        self._pool.replace(shares[number][0])
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
            for index, (position, report) in enumerate(zip(positions, result_of(refs[0], "reports"), strict=True)):
                reports[position], places[position] = report, (part, index)
                kept |= {one.assignment.client: refs[2] for one in report.clients}
        contribution, own = self._server.close.options(num_returns=2).remote()
        kept[SERVER] = own
        order = (*(places[position] for position in sorted(places)), (len(outcomes), 0))
        parts = (*(refs[1] for _, refs in outcomes), contribution)
        return SideBySideOutcome(tuple(reports[position] for position in sorted(reports)), order, parts, kept)
