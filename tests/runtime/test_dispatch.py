"""Who is trained again, and who is blamed, when workers die: on make-believe workers, so that all cases are quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.client import Assignment, ClientReport
from runtime.executors import ray_dispatch
from runtime.executors.base import RoundTask
from runtime.executors.ray_dispatch import Dispatch, TrainedGroup
from runtime.executors.ray_pool import Slot
from runtime.faults import FaultKind
from runtime.groups import Group
from runtime.worker import GroupReport
from scenarios.contracts.modes import Mode
from scenarios.errors import RunError
from scenarios.schema import Faults

Dies = Callable[[Sequence[str]], bool]


class Pool:
    """Workers that are always ready."""

    def __init__(self, num_workers: int) -> None:
        self._slots = [Slot(worker=f"worker {i}") for i in range(num_workers)]

    def ready(self) -> list[Slot]:
        return self._slots

    def starting(self) -> dict[Any, Slot]:
        return {}

    def replace(self, slot: Slot) -> None:
        slot.worker += "'"


@dataclass(eq=False)
class Ref:
    """What a worker would return for a group."""

    clients: tuple[str, ...]


class Workers:
    """Stands for Ray: the first task waited for is done, or its worker has died."""

    exceptions = ray.exceptions

    def __init__(self, dies: Dies) -> None:
        self._dies = dies

    def wait(self, refs: list[Ref], num_returns: int, timeout: float) -> tuple[list[Ref], list[Ref]]:
        return refs[:num_returns], refs[num_returns:]

    def get(self, ref: Ref) -> GroupReport:
        if self._dies(ref.clients):
            raise ray.exceptions.WorkerCrashedError
        reports = (ClientReport(assignment(client), 0.0, {}, {}) for client in ref.clients)
        return GroupReport(tuple(reports), ())

    def put(self, value: Any) -> Any:
        return value


def assignment(client: str) -> Assignment:
    return Assignment(client, 1, Mode.FO, 1.0, 1)


def carried_out(
    monkeypatch: pytest.MonkeyPatch, groups: Sequence[Sequence[str]], dies: Dies, num_workers: int = 2
) -> list[TrainedGroup]:
    """Carry out a round; no worker may ever get a group of nobody."""

    def submit(worker: Any, group: Group) -> tuple[Any, ...]:
        assert group.members
        return Ref(tuple(a.client for a in group.members)), None, None, None

    monkeypatch.setattr(ray_dispatch, "ray", Workers(dies))
    told: list[int] = []
    task = RoundTask(0, tuple(Group(tuple(assignment(c) for c in clients)) for clients in groups))
    faults = Faults(policy="drop-client", worker_retries=1)
    dispatch = Dispatch(Pool(num_workers), task, faults, submit, lambda position, _: told.append(position))  # type: ignore[arg-type]
    trained = dispatch.carry_out()
    assert told == list(range(len(groups)))
    return trained


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    culprits=st.sets(st.integers(0, 23)),
    num_workers=st.integers(1, 3),
)
@settings(deadline=None)
def test_exactly_those_that_kill_are_left_out(sizes: list[int], culprits: set[int], num_workers: int) -> None:
    names = iter(str(i) for i in range(sum(sizes)))
    groups = [[next(names) for _ in range(size)] for size in sizes]
    killers = {str(i) for i in culprits}
    with pytest.MonkeyPatch.context() as monkeypatch:
        trained = carried_out(monkeypatch, groups, lambda clients: bool(killers & set(clients)), num_workers)
    for group, outcome in zip(groups, trained, strict=True):
        assert [r.assignment.client for r in outcome.report.clients] == [c for c in group if c not in killers]
        assert {f.client for f in outcome.report.faults} == killers & set(group)
        assert all(fault.kind is FaultKind.KILLS_WORKERS for fault in outcome.report.faults)


def test_a_group_that_fails_together_only_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"while a, b are trained one after another, and over none of them alone"):
        carried_out(monkeypatch, [["a", "b"], ["c"]], lambda clients: len(clients) > 1)
