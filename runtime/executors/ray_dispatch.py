"""One round on a pool of Ray workers: submit groups, repeat them when a worker dies, leave out clients that fail."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import ray

from hybridsplit.runtime.executors.base import RoundTask
from hybridsplit.runtime.executors.chunks import ChunkQueue, PendingGroup
from hybridsplit.runtime.executors.ray_actors import EMPTY, KeptRef, PartRef
from hybridsplit.runtime.executors.ray_cluster import errors_of_workers, is_raised_by_worker
from hybridsplit.runtime.executors.ray_pool import PLACEMENT_LIMIT_S, Slot, WorkerPool, first_line, no_place
from hybridsplit.runtime.executors.ray_waiting import first_of, result_of
from hybridsplit.runtime.worker.faults import ClientFault, FaultKind
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.worker import GroupReport
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Faults

_NAMES_SHOWN = 5
_LOOK_S = 5.0
"""How often it is looked whether workers have come to life."""

Submit = Callable[[Any, Sequence[Group]], "tuple[Any, ...]"]
"""Submits groups to a worker; returns references to their reports, their contributions and their optimizer states."""


@dataclass(frozen=True)
class TrainedGroup:
    """The report of a group, and where the rest lies.

    Parameters
    ----------
    report
        The report.
    part, index
        Its contribution: the object that holds those of all groups of its chunk, and its place there.
    optimizer_states
        Optimizer states of the same groups.
    """

    report: GroupReport
    part: PartRef
    index: int
    optimizer_states: KeptRef


@dataclass(frozen=True)
class _SubmittedChunk:
    groups: tuple[PendingGroup, ...]
    refs: tuple[Any, ...]


@dataclass
class _WorkerQueue:
    """Chunks submitted to a worker: it trains the first, and goes on with the next without waiting for the driver."""

    chunks: deque[_SubmittedChunk] = field(default_factory=deque)
    deadline_s: float = float("inf")


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
        Submits groups to a worker.
    on_trained
        Called with groups that follow one another, and the position of the first, as soon as they and all before them
        are trained.
    most_at_once
        Most groups that a worker may hold the contributions of.
    on_loss
        Called when a worker died or was killed since it took too long, and when a process that it had called died.
    """

    def __init__(
        self,
        pool: WorkerPool,
        task: RoundTask,
        faults: Faults,
        submit: Submit,
        on_trained: Callable[[int, Sequence[TrainedGroup]], None],
        most_at_once: int = 1,
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_loss = on_loss
        self._pool, self._task, self._limits, self._submit = pool, task, faults, submit
        self._on_trained, self._num_reported = on_trained, 0
        # With a time limit chunks are single groups: only then is it known which group exceeded it.
        self._waiting = ChunkQueue(task.groups, most_at_once if faults.client_timeout_s is None else 1)
        self._worker_queues: dict[Slot, _WorkerQueue] = {}
        self._works_ahead = True
        self._fail_together_only: set[int] = set()
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
            An error in scenario or data that a worker found.
        """
        while len(self._done) < len(self._task.groups):
            self._submit_chunks()
            self._report()
            self._await_something()
        self._report()
        return [self._done[position] for position in range(len(self._task.groups))]

    def _report(self) -> None:
        """Report what can be reported in order, together."""
        trained: list[TrainedGroup] = []
        while self._num_reported + len(trained) in self._done:
            trained.append(self._done[self._num_reported + len(trained)])
        if trained:
            self._on_trained(self._num_reported, trained)
            self._num_reported += len(trained)

    def _submit_chunks(self) -> None:
        ready = self._pool.ready()
        for slot in ready:
            queue = self._worker_queues.setdefault(slot, _WorkerQueue())
            if not queue.chunks and self._submit_next(slot, queue):
                self._set_deadline(queue)
        # One group more is submitted ahead, never several; the last ones go to the worker that is free first.
        for slot in ready:
            if self._works_ahead and len(self._worker_queues[slot].chunks) == 1 and len(self._waiting) > len(ready):
                self._submit_next(slot, self._worker_queues[slot], most=1)

    def _submit_next(self, slot: Slot, queue: _WorkerQueue, most: int | None = None) -> bool:
        slots = [*self._pool.ready(), *self._pool.starting().values()]
        groups = self._waiting.take(slot.resource, sum(s.resource == slot.resource for s in slots), most)
        if groups:
            queue.chunks.append(
                _SubmittedChunk(groups, self._submit(slot.worker, [pending.group for pending in groups]))
            )
        return bool(groups)

    def _set_deadline(self, queue: _WorkerQueue) -> None:
        limit_s = self._limits.client_timeout_s
        if limit_s is None or not queue.chunks:
            queue.deadline_s = float("inf")
        else:
            (pending,) = queue.chunks[0].groups
            queue.deadline_s = monotonic() + limit_s * len(pending.group.members)

    def _await_something(self) -> None:
        starting = self._pool.starting()
        training = {queue.chunks[0].refs[0]: slot for slot, queue in self._worker_queues.items() if queue.chunks}
        until_s = (
            min((self._worker_queues[slot].deadline_s for slot in training.values()), default=float("inf"))
            - monotonic()
        )
        ready = self._first_of([*training, *starting], min(max(0.0, until_s), PLACEMENT_LIMIT_S))
        if ready is None:
            return
        for ref in ready:
            if ref in starting:
                if not self._pool.take_in(starting[ref]):
                    self._say("a worker died while it loaded model and data; another one was started")
            else:
                self._take(training[ref])
        if not ready:
            self._end_what_is_overdue()

    def _first_of(self, refs: Sequence[Any], limit_s: float) -> list[Any] | None:
        """Return what is done first, nothing when the time is up, None where a worker was replaced meanwhile."""
        until_s = monotonic() + limit_s
        while True:
            left_s = until_s - monotonic()
            ready, _ = first_of(refs, max(0.0, min(_LOOK_S, left_s)), f"the clients of round {self._task.round + 1}")
            if ready or left_s <= _LOOK_S:
                return ready
            if num_replaced := self._pool.replace_unborn():
                self._say(f"{num_replaced} workers had not come to life; others were started")
                return None

    def _take(self, slot: Slot) -> None:
        queue = self._worker_queues[slot]
        first = queue.chunks[0]
        try:
            reports: list[GroupReport] = result_of(first.refs[0], f"round {self._task.round + 1}")
        except ray.exceptions.RayError as error:
            if is_raised_by_worker(error):
                with errors_of_workers():
                    raise error from None
            self._worker_died(slot, error)
        else:
            queue.chunks.popleft()
            self._set_deadline(queue)
            _, part, optimizer_states = first.refs
            for index, (pending, report) in enumerate(zip(first.groups, reports, strict=True)):
                self._end(pending, None, TrainedGroup(report, part, index, optimizer_states))

    def _replace(self, slot: Slot) -> list[PendingGroup]:
        """Put another worker in the place of one, and return the groups that it had not finished."""
        unfinished = [pending for chunk in self._worker_queues.pop(slot).chunks for pending in chunk.groups]
        self._pool.replace(slot)
        return unfinished

    def _worker_died(self, slot: Slot, error: Exception) -> None:
        """Let other workers repeat the groups that it had not finished, to the same bits."""
        unfinished = self._replace(slot)
        self._on_loss()
        named = _names(Group(tuple(member for pending in unfinished for member in pending.group.members)))
        what = "a process that it called died" if isinstance(error, ray.exceptions.RayTaskError) else "a worker died"
        self._say(f"{what} while it trained {named} ({first_line(error)}); they are trained again")
        # Any of the groups may be the cause: from now on a worker has one at a time.
        self._works_ahead = False
        self._waiting.limit_to_single_groups()
        if len(unfinished) > 1:
            self._waiting.put_back(unfinished)
            return
        (pending,) = unfinished
        key = pending.position, pending.on_trial, pending.group
        self._deaths[key] += 1
        if self._deaths[key] <= self._limits.worker_retries:
            self._waiting.put_back(unfinished)
        else:
            observed = f"{self._deaths[key]} workers in a row died while they trained it"
            self._end(pending, (FaultKind.KILLS_WORKERS, observed), None)

    def _end_what_is_overdue(self) -> None:
        now_s = monotonic()
        overdue = [slot for slot, queue in self._worker_queues.items() if queue.deadline_s <= now_s]
        for slot in overdue:
            pending, *next_ones = self._replace(slot)
            self._on_loss()
            self._waiting.put_back(next_ones)
            self._say(f"{_names(pending.group)}: not finished in time; the worker was killed")
            observed = f"it had not finished after {self._limits.client_timeout_s:g} s"
            self._end(pending, (FaultKind.HANGS, observed), None)
        if not overdue and not any(queue.chunks for queue in self._worker_queues.values()):
            raise no_place()

    def _end(self, pending: PendingGroup, failure: tuple[FaultKind, str] | None, trained: TrainedGroup | None) -> None:
        position, members = pending.position, pending.group.members
        if pending.on_trial:
            if failure is not None:
                self._culprits[position].append(ClientFault(members[0].client, self._task.round, *failure))
            self._on_trial[position] -= 1
            if self._on_trial[position] == 0:
                self._repeat_without_culprits(position)
        elif failure is None:
            assert trained is not None
            self._finish(position, trained)
        else:
            # Each member is trained alone to see which fails; a group of one is tried once more, under the same rule.
            self._on_trial[position] = len(members)
            self._waiting.put_back(
                [
                    PendingGroup(position, Group((member,), resource=pending.group.resource), on_trial=True)
                    for member in members
                ]
            )

    def _finish(self, position: int, trained: TrainedGroup) -> None:
        faults = (*trained.report.faults, *self._culprits[position])
        report = GroupReport(trained.report.clients, faults)
        self._done[position] = replace(trained, report=report)

    def _repeat_without_culprits(self, position: int) -> None:
        culprits, group = self._culprits[position], self._task.groups[position]
        if not culprits:
            if position in self._fail_together_only:
                raise RunError(
                    f"round {self._task.round + 1}: workers die or hang while {_names(group)} are trained one after "
                    "another, and over none of them alone; the likely cause is memory: use fewer --workers, or "
                    "--executor inline"
                )
            self._fail_together_only.add(position)
            self._deaths.pop((position, False, group), None)
            self._say(f"{_names(group)}: none of them fails alone; they are trained again")
        rest = group.without(frozenset(fault.client for fault in culprits))
        if rest.members:
            self._waiting.put_back([PendingGroup(position, rest)])
        else:
            self._finish(position, TrainedGroup(GroupReport((), ()), ray.put([EMPTY]), 0, ray.put({})))

    def _say(self, what: str) -> None:
        self.events.append(f"round {self._task.round + 1}: {what}")


def _names(group: Group) -> str:
    names = [member.client for member in group.members]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
