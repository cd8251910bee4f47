"""One round on a pool of Ray workers: groups are handed out, repeated when a worker dies, and freed of culprits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import ray
from ray import ObjectRef

from runtime.executors.base import RoundTask
from runtime.executors.ray_actors import KeptRef, StateRef
from runtime.executors.ray_cluster import errors_of_workers
from runtime.executors.ray_pool import Slot, WorkerPool, first_line
from runtime.faults import ClientFault, FaultKind
from runtime.groups import Group
from runtime.worker import GroupReport
from scenarios.errors import RunError
from scenarios.schema import Faults

PLACEMENT_LIMIT_S = 180.0
"""How long to wait for a place on the cluster while no worker is alive."""
_NAMES_SHOWN = 5

Submit = Callable[[Any, Group], "tuple[Any, ...]"]
"""Hands a group to a worker; returns references to the report and to the three objects of :class:`TrainedGroup`."""


@dataclass(frozen=True)
class TrainedGroup:
    """The report of a group, and where its weights, mean and optimizer states lie."""

    report: GroupReport
    weights: ObjectRef[dict[str, float]]
    mean: StateRef
    optimizer_states: KeptRef


@dataclass(frozen=True)
class _Work:
    """A group to train; on trial, to see which of another group's members fails."""

    position: int
    group: Group
    on_trial: bool = False


@dataclass(frozen=True)
class _Running:
    work: _Work
    slot: Slot
    deadline_s: float
    refs: tuple[Any, ...]


class Dispatch:
    """Carries out one round.

    Parameters
    ----------
    pool
        The workers.
    task
        The round.
    faults
        The scenario's section: time limit and retries.
    submit
        Hands a group to a worker.
    on_trained
        Called with every group as soon as it and all before it are trained, in the order of the groups.
    """

    def __init__(
        self,
        pool: WorkerPool,
        task: RoundTask,
        faults: Faults,
        submit: Submit,
        on_trained: Callable[[int, TrainedGroup], None],
    ) -> None:
        self._pool, self._task, self._limits, self._submit = pool, task, faults, submit
        self._on_trained, self._num_told = on_trained, 0
        self._waiting = deque(_Work(position, group) for position, group in enumerate(task.groups))
        self._running: dict[Any, _Running] = {}
        self._done: dict[int, TrainedGroup] = {}
        self._deaths: Counter[tuple[int, bool, Group]] = Counter()
        self._on_trial: Counter[int] = Counter()
        self._culprits: dict[int, list[ClientFault]] = {position: [] for position in range(len(task.groups))}
        self.events: list[str] = []

    def carry_out(self) -> list[TrainedGroup]:
        """Train all groups, whatever happens to workers.

        Returns
        -------
        In the order of the groups. A client that hangs or kills its workers is among its group's faults.

        Raises
        ------
        RunError
            If no worker can be kept alive.
        HybridSplitError
            Whatever a worker finds wrong with scenario or data.
        """
        while len(self._done) < len(self._task.groups):
            self._hand_out()
            self._await_something()
        return [self._done[position] for position in range(len(self._task.groups))]

    def _hand_out(self) -> None:
        busy = {id(running.slot) for running in self._running.values()}
        for slot in self._pool.ready():
            work = next((w for w in self._waiting if w.group.resource == slot.resource), None)
            if work is None or id(slot) in busy:
                continue
            self._waiting.remove(work)
            limit_s = self._limits.client_timeout_s
            deadline_s = float("inf") if limit_s is None else monotonic() + limit_s * len(work.group.members)
            refs = self._submit(slot.worker, work.group)
            self._running[refs[0]] = _Running(work, slot, deadline_s, refs)

    def _await_something(self) -> None:
        starting = self._pool.starting()
        until_s = min((running.deadline_s for running in self._running.values()), default=float("inf")) - monotonic()
        ready, _ = ray.wait(
            [*self._running, *starting], num_returns=1, timeout=min(max(0.0, until_s), PLACEMENT_LIMIT_S)
        )
        for ref in ready:
            if ref in starting:
                if not self._pool.take_in(starting[ref]):
                    self._say("a worker died while it loaded model and data; another one was started")
            else:
                self._take(self._running.pop(ref))
        if not ready:
            self._end_what_is_overdue()

    def _take(self, running: _Running) -> None:
        try:
            report: GroupReport = ray.get(running.refs[0])
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, ray.exceptions.RayError):
                with errors_of_workers():
                    raise error from None
            self._worker_died(running, error)
        except ray.exceptions.RayError as error:
            self._worker_died(running, error)
        else:
            self._end(running.work, None, TrainedGroup(report, *running.refs[1:]))

    def _worker_died(self, running: _Running, error: Exception) -> None:
        """Let another worker repeat the group, to the same bits."""
        work = running.work
        key = work.position, work.on_trial, work.group
        self._deaths[key] += 1
        self._say(f"a worker died while it trained {_names(work.group)} ({first_line(error)}); they are trained again")
        self._pool.replace(running.slot)
        if self._deaths[key] <= self._limits.worker_retries:
            self._waiting.appendleft(work)
        else:
            found = f"{self._deaths[key]} workers in a row died while they trained it"
            self._end(work, (FaultKind.KILLS_WORKERS, found), None)

    def _end_what_is_overdue(self) -> None:
        now_s = monotonic()
        overdue = [ref for ref, running in self._running.items() if running.deadline_s <= now_s]
        for ref in overdue:
            running = self._running.pop(ref)
            self._say(f"{_names(running.work.group)}: not finished in time; the worker was killed")
            self._pool.replace(running.slot)
            found = f"it had not finished after {self._limits.client_timeout_s:g} s"
            self._end(running.work, (FaultKind.HANGS, found), None)
        if not overdue and not self._running:
            raise RunError(
                f"no worker found a place on the Ray cluster within {PLACEMENT_LIMIT_S:g} s; it has no free core: use "
                "fewer --workers, or stop what else runs there"
            )

    def _end(self, work: _Work, failure: tuple[FaultKind, str] | None, trained: TrainedGroup | None) -> None:
        position, members = work.position, work.group.members
        if work.on_trial:
            if failure is not None:
                self._culprits[position].append(ClientFault(members[0].client, self._task.round, *failure))
            self._on_trial[position] -= 1
            if self._on_trial[position] == 0:
                self._repeat_without_culprits(position)
        elif failure is None:
            assert trained is not None
            faults = (*trained.report.faults, *self._culprits[position])
            report = GroupReport(trained.report.clients, faults)
            self._done[position] = TrainedGroup(report, trained.weights, trained.mean, trained.optimizer_states)
            while self._num_told in self._done:
                self._on_trained(self._num_told, self._done[self._num_told])
                self._num_told += 1
        else:
            # Each member by itself shows who it is; a lone one is tried once more, for the same rule to decide.
            self._on_trial[position] = len(members)
            self._waiting.extendleft(
                _Work(position, Group((member,), resource=work.group.resource), on_trial=True) for member in members
            )

    def _repeat_without_culprits(self, position: int) -> None:
        culprits = self._culprits[position]
        if not culprits:
            self._say(f"{_names(self._task.groups[position])}: nobody fails alone; they are trained again")
        group = self._task.groups[position].without(frozenset(fault.client for fault in culprits))
        self._waiting.appendleft(_Work(position, group))

    def _say(self, what: str) -> None:
        self.events.append(f"round {self._task.round + 1}: {what}")


def _names(group: Group) -> str:
    names = [member.client for member in group.members]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
