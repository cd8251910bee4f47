"""One round on a pool of Ray workers: groups are handed out, repeated when a worker dies, and freed of culprits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray
from ray import ObjectRef
from safetensors.torch import save

from runtime.executors.base import RoundTask
from runtime.executors.ray_actors import KeptRef, StateRef
from runtime.executors.ray_cluster import errors_of_workers, is_raised_by_worker
from runtime.executors.ray_pool import PLACEMENT_LIMIT_S, Slot, WorkerPool, first_line, no_place
from runtime.faults import ClientFault, FaultKind
from runtime.groups import Group
from runtime.worker import GroupReport
from scenarios.errors import RunError
from scenarios.schema import Faults

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
class _Given:
    work: _Work
    refs: tuple[Any, ...]


@dataclass
class _Line:
    """What a worker has been given: it trains the first, and goes on with the next without waiting for the driver."""

    given: deque[_Given] = field(default_factory=deque)
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
        self._lines: dict[Slot, _Line] = {}
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
            Whatever a worker finds wrong with scenario or data.
        """
        while len(self._done) < len(self._task.groups):
            self._hand_out()
            self._await_something()
        return [self._done[position] for position in range(len(self._task.groups))]

    def _hand_out(self) -> None:
        ready = self._pool.ready()
        for slot in ready:
            line = self._lines.setdefault(slot, _Line())
            if not line.given and self._give(slot, line):
                self._set_deadline(line)
        # The last groups go to whoever is free first.
        for slot in ready:
            if self._works_ahead and len(self._lines[slot].given) == 1 and len(self._waiting) > len(ready):
                self._give(slot, self._lines[slot])

    def _give(self, slot: Slot, line: _Line) -> bool:
        work = next((w for w in self._waiting if w.group.resource == slot.resource), None)
        if work is None:
            return False
        self._waiting.remove(work)
        line.given.append(_Given(work, self._submit(slot.worker, work.group)))
        return True

    def _set_deadline(self, line: _Line) -> None:
        limit_s = self._limits.client_timeout_s
        if limit_s is None or not line.given:
            line.deadline_s = float("inf")
        else:
            line.deadline_s = monotonic() + limit_s * len(line.given[0].work.group.members)

    def _await_something(self) -> None:
        starting = self._pool.starting()
        training = {line.given[0].refs[0]: slot for slot, line in self._lines.items() if line.given}
        until_s = min((self._lines[slot].deadline_s for slot in training.values()), default=float("inf")) - monotonic()
        ready, _ = ray.wait(
            [*training, *starting], num_returns=1, timeout=min(max(0.0, until_s), PLACEMENT_LIMIT_S)
        )  # fmt: skip
        for ref in ready:
            if ref in starting:
                if not self._pool.take_in(starting[ref]):
                    self._say("a worker died while it loaded model and data; another one was started")
            else:
                self._take(training[ref])
        if not ready:
            self._end_what_is_overdue()

    def _take(self, slot: Slot) -> None:
        line = self._lines[slot]
        first = line.given[0]
        try:
            report: GroupReport = ray.get(first.refs[0])
        except ray.exceptions.RayError as error:
            if is_raised_by_worker(error):
                with errors_of_workers():
                    raise error from None
            self._worker_died(slot, first.work, error)
        else:
            line.given.popleft()
            self._set_deadline(line)
            self._end(first.work, None, TrainedGroup(report, *first.refs[1:]))

    def _replace(self, slot: Slot) -> None:
        """Put another worker in the place of one; what was next in line there waits for anybody again."""
        _, *others = self._lines.pop(slot).given
        self._waiting.extendleft(given.work for given in reversed(others))
        self._pool.replace(slot)

    def _worker_died(self, slot: Slot, work: _Work, error: Exception) -> None:
        """Let another worker repeat the group, to the same bits."""
        # It may have died over the next group, before the first one's result got out: from now on one at a time.
        in_hand = [given.work.group for given in self._lines[slot].given]
        is_certain, self._works_ahead = len(in_hand) == 1, False
        key = work.position, work.on_trial, work.group
        self._deaths[key] += is_certain
        named = _names(Group(tuple(member for group in in_hand for member in group.members)))
        self._say(f"a worker died while it trained {named} ({first_line(error)}); they are trained again")
        self._replace(slot)
        if self._deaths[key] <= self._limits.worker_retries:
            self._waiting.appendleft(work)
        else:
            found = f"{self._deaths[key]} workers in a row died while they trained it"
            self._end(work, (FaultKind.KILLS_WORKERS, found), None)

    def _end_what_is_overdue(self) -> None:
        now_s = monotonic()
        overdue = [slot for slot, line in self._lines.items() if line.deadline_s <= now_s]
        for slot in overdue:
            work = self._lines[slot].given[0].work
            self._say(f"{_names(work.group)}: not finished in time; the worker was killed")
            self._replace(slot)
            found = f"it had not finished after {self._limits.client_timeout_s:g} s"
            self._end(work, (FaultKind.HANGS, found), None)
        if not overdue and not any(line.given for line in self._lines.values()):
            raise no_place()

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
            self._finish(position, trained)
        else:
            # Each member by itself shows who it is; a lone one is tried once more, for the same rule to decide.
            self._on_trial[position] = len(members)
            self._waiting.extendleft(
                _Work(position, Group((member,), resource=work.group.resource), on_trial=True) for member in members
            )

    def _finish(self, position: int, trained: TrainedGroup) -> None:
        faults = (*trained.report.faults, *self._culprits[position])
        report = GroupReport(trained.report.clients, faults)
        self._done[position] = TrainedGroup(report, trained.weights, trained.mean, trained.optimizer_states)
        while self._num_told in self._done:
            self._on_trained(self._num_told, self._done[self._num_told])
            self._num_told += 1

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
            self._say(f"{_names(group)}: nobody fails alone; they are trained again")
        rest = group.without(frozenset(fault.client for fault in culprits))
        if rest.members:
            self._waiting.appendleft(_Work(position, rest))
        else:
            self._finish(position, TrainedGroup(GroupReport((), ()), ray.put({}), ray.put(save({})), ray.put({})))

    def _say(self, what: str) -> None:
        self.events.append(f"round {self._task.round + 1}: {what}")


def _names(group: Group) -> str:
    names = [member.client for member in group.members]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
