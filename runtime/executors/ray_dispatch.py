"""One round on a pool of Ray workers: groups are handed out, repeated when a worker dies, and freed of culprits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import ray

from hybridsplit.runtime.executors.base import RoundTask
from hybridsplit.runtime.executors.chunks import Hands, Work
from hybridsplit.runtime.executors.ray_actors import EMPTY, KeptRef, PartRef
from hybridsplit.runtime.executors.ray_cluster import errors_of_workers, is_raised_by_worker
from hybridsplit.runtime.executors.ray_pool import PLACEMENT_LIMIT_S, Slot, WorkerPool, first_line, no_place
from hybridsplit.runtime.worker.faults import ClientFault, FaultKind
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.worker import GroupReport
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Faults

_NAMES_SHOWN = 5

Submit = Callable[[Any, Sequence[Group]], "tuple[Any, ...]"]
"""Hands groups to a worker; returns references to their reports, their contributions and their optimizer states."""


@dataclass(frozen=True)
class TrainedGroup:
    """The report of a group, and where the rest lies.

    Parameters
    ----------
    report
        The report.
    part, index
        Its contribution: the object that holds those of all groups that were handed out together, and its place there.
    optimizer_states
        Of the same groups.
    """

    report: GroupReport
    part: PartRef
    index: int
    optimizer_states: KeptRef


@dataclass(frozen=True)
class _Given:
    works: tuple[Work, ...]
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
        Hands groups to a worker.
    on_trained
        Called with groups that follow one another, and the position of the first, as soon as they and all before them
        are trained.
    most_at_once
        Most groups that a worker may hold the contributions of.
    """

    def __init__(
        self,
        pool: WorkerPool,
        task: RoundTask,
        faults: Faults,
        submit: Submit,
        on_trained: Callable[[int, Sequence[TrainedGroup]], None],
        most_at_once: int = 1,
    ) -> None:
        self._pool, self._task, self._limits, self._submit = pool, task, faults, submit
        self._on_trained, self._num_told = on_trained, 0
        # Whoever hangs or kills is found among single groups only.
        self._hands = Hands(task.groups, most_at_once if faults.client_timeout_s is None else 1)
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
            self._tell()
            self._await_something()
        self._tell()
        return [self._done[position] for position in range(len(self._task.groups))]

    def _tell(self) -> None:
        """Report what can be reported in order, together."""
        trained: list[TrainedGroup] = []
        while self._num_told + len(trained) in self._done:
            trained.append(self._done[self._num_told + len(trained)])
        if trained:
            self._on_trained(self._num_told, trained)
            self._num_told += len(trained)

    def _hand_out(self) -> None:
        ready = self._pool.ready()
        for slot in ready:
            line = self._lines.setdefault(slot, _Line())
            if not line.given and self._give(slot, line):
                self._set_deadline(line)
        # One group more is handed out ahead, never several; the last ones go to whoever is free first.
        for slot in ready:
            if self._works_ahead and len(self._lines[slot].given) == 1 and len(self._hands) > len(ready):
                self._give(slot, self._lines[slot], most=1)

    def _give(self, slot: Slot, line: _Line, most: int | None = None) -> bool:
        slots = [*self._pool.ready(), *self._pool.starting().values()]
        works = self._hands.take(slot.resource, sum(s.resource == slot.resource for s in slots), most)
        if works:
            line.given.append(_Given(works, self._submit(slot.worker, [work.group for work in works])))
        return bool(works)

    def _set_deadline(self, line: _Line) -> None:
        limit_s = self._limits.client_timeout_s
        if limit_s is None or not line.given:
            line.deadline_s = float("inf")
        else:
            (work,) = line.given[0].works
            line.deadline_s = monotonic() + limit_s * len(work.group.members)

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
            reports: list[GroupReport] = ray.get(first.refs[0])
        except ray.exceptions.RayError as error:
            if is_raised_by_worker(error):
                with errors_of_workers():
                    raise error from None
            self._worker_died(slot, error)
        else:
            line.given.popleft()
            self._set_deadline(line)
            _, part, optimizer_states = first.refs
            for index, (work, report) in enumerate(zip(first.works, reports, strict=True)):
                self._end(work, None, TrainedGroup(report, part, index, optimizer_states))

    def _replace(self, slot: Slot) -> list[Work]:
        """Put another worker in the place of one, and return what that one had in hand."""
        in_hand = [work for given in self._lines.pop(slot).given for work in given.works]
        self._pool.replace(slot)
        return in_hand

    def _worker_died(self, slot: Slot, error: Exception) -> None:
        """Let another worker repeat what it had in hand, to the same bits."""
        in_hand = self._replace(slot)
        named = _names(Group(tuple(member for work in in_hand for member in work.group.members)))
        self._say(f"a worker died while it trained {named} ({first_line(error)}); they are trained again")
        # It may have died over any of them: from now on a worker has one at a time.
        self._works_ahead = False
        self._hands.singly()
        if len(in_hand) > 1:
            self._hands.put_back(in_hand)
            return
        (work,) = in_hand
        key = work.position, work.on_trial, work.group
        self._deaths[key] += 1
        if self._deaths[key] <= self._limits.worker_retries:
            self._hands.put_back(in_hand)
        else:
            found = f"{self._deaths[key]} workers in a row died while they trained it"
            self._end(work, (FaultKind.KILLS_WORKERS, found), None)

    def _end_what_is_overdue(self) -> None:
        now_s = monotonic()
        overdue = [slot for slot, line in self._lines.items() if line.deadline_s <= now_s]
        for slot in overdue:
            work, *next_in_line = self._replace(slot)
            self._hands.put_back(next_in_line)
            self._say(f"{_names(work.group)}: not finished in time; the worker was killed")
            found = f"it had not finished after {self._limits.client_timeout_s:g} s"
            self._end(work, (FaultKind.HANGS, found), None)
        if not overdue and not any(line.given for line in self._lines.values()):
            raise no_place()

    def _end(self, work: Work, failure: tuple[FaultKind, str] | None, trained: TrainedGroup | None) -> None:
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
            self._hands.put_back(
                [Work(position, Group((member,), resource=work.group.resource), on_trial=True) for member in members]
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
            self._say(f"{_names(group)}: nobody fails alone; they are trained again")
        rest = group.without(frozenset(fault.client for fault in culprits))
        if rest.members:
            self._hands.put_back([Work(position, rest)])
        else:
            self._finish(position, TrainedGroup(GroupReport((), ()), ray.put([EMPTY]), 0, ray.put({})))

    def _say(self, what: str) -> None:
        self.events.append(f"round {self._task.round + 1}: {what}")


def _names(group: Group) -> str:
    names = [member.client for member in group.members]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
