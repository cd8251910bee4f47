"""Who is trained again, and who is blamed, when workers die: on make-believe workers, so that all cases are quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsplit.runtime.executors import ray_dispatch, ray_waiting
from hybridsplit.runtime.executors.base import RoundTask
from hybridsplit.runtime.executors.ray_dispatch import Dispatch, TrainedGroup
from hybridsplit.runtime.executors.ray_pool import Slot
from hybridsplit.runtime.split.reports import ClientReport
from hybridsplit.runtime.worker.faults import FaultKind
from hybridsplit.runtime.worker.groups import Group
from hybridsplit.runtime.worker.worker import GroupReport
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.placement import Placement
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.schema import Faults

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
    """What a worker would return for groups."""

    groups: tuple[tuple[str, ...], ...]


class Workers:
    """Stands for Ray: the first task waited for is done, or its worker has died."""

    exceptions = ray.exceptions
    _private = ray._private

    def __init__(self, dies: Dies) -> None:
        self._dies = dies

    def wait(self, refs: list[Ref], num_returns: int, timeout: float) -> tuple[list[Ref], list[Ref]]:
        return refs[:num_returns], refs[num_returns:]

    def get(self, ref: Ref, timeout: float | None = None) -> list[GroupReport]:
        if any(self._dies(clients) for clients in ref.groups):
            raise ray.exceptions.WorkerCrashedError
        return [
            GroupReport(tuple(ClientReport(assignment(client), 0.0, {}, {}) for client in clients), ())
            for clients in ref.groups
        ]

    def put(self, value: Any) -> Any:
        return value


def assignment(client: str) -> Assignment:
    return Assignment(client, Placement(cut=1, mode=Mode.FO, batch_size=1), 1.0, 1)


def carried_out(
    monkeypatch: pytest.MonkeyPatch,
    groups: Sequence[Sequence[str]],
    dies: Dies,
    num_workers: int = 2,
    most_at_once: int = 1,
    handed_out: list[Ref] | None = None,
) -> list[TrainedGroup]:
    """Carry out a round; no worker may ever get an empty group, or more than it may hold."""

    def submit(worker: Any, groups: Sequence[Group]) -> tuple[Any, ...]:
        assert 0 < len(groups) <= most_at_once
        assert all(group.members for group in groups)
        ref = Ref(tuple(tuple(a.client for a in group.members) for group in groups))
        if handed_out is not None:
            handed_out.append(ref)
        return ref, ref.groups, None

    def hear(first: int, trained: Sequence[TrainedGroup]) -> None:
        assert first == len(reported)
        reported.extend(trained)

    for module in (ray_dispatch, ray_waiting):
        monkeypatch.setattr(module, "ray", Workers(dies))
    reported: list[TrainedGroup] = []
    task = RoundTask(0, tuple(Group(tuple(assignment(c) for c in clients)) for clients in groups))
    faults = Faults(policy="drop-client", worker_retries=1)
    trained = Dispatch(Pool(num_workers), task, faults, submit, hear, most_at_once).carry_out()  # type: ignore[arg-type]
    assert reported == trained
    return trained


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    culprits=st.sets(st.integers(0, 23)),
    num_workers=st.integers(1, 3),
    most_at_once=st.integers(1, 5),
)
@settings(deadline=None)
def test_exactly_those_that_kill_are_left_out(
    sizes: list[int], culprits: set[int], num_workers: int, most_at_once: int
) -> None:
    names = iter(str(i) for i in range(sum(sizes)))
    groups = [[next(names) for _ in range(size)] for size in sizes]
    killers = {str(i) for i in culprits}
    with pytest.MonkeyPatch.context() as monkeypatch:
        trained = carried_out(
            monkeypatch, groups, lambda clients: bool(killers & set(clients)), num_workers, most_at_once
        )
    for group, outcome in zip(groups, trained, strict=True):
        left = [c for c in group if c not in killers]
        assert [r.assignment.client for r in outcome.report.clients] == left
        # The contribution that counts is the one of those that are left.
        assert not left or outcome.part[outcome.index] == tuple(left)
        assert {f.client for f in outcome.report.faults} == killers & set(group)
        assert all(fault.kind is FaultKind.KILLS_WORKERS for fault in outcome.report.faults)


def test_a_group_that_fails_together_only_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"while a, b are trained one after another, and over none of them alone"):
        carried_out(monkeypatch, [["a", "b"], ["c"]], lambda clients: len(clients) > 1)


def test_many_are_handed_out_at_first_and_single_ones_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few messages, and no worker waits long for the last group."""
    handed_out: list[Ref] = []
    carried_out(monkeypatch, [[str(i)] for i in range(32)], lambda _: False, 2, 10, handed_out)
    sizes = [len(ref.groups) for ref in handed_out]
    assert sizes[:2] == [10, 10]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-2:] == [1, 1]
    assert len(sizes) <= 8
    assert sum(sizes) == 32


def test_neighbours_which_are_often_alike_are_dealt_to_different_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_out: list[Ref] = []
    carried_out(monkeypatch, [[str(i)] for i in range(32)], lambda _: False, 2, 10, handed_out)
    for costly in ({str(i) for i in range(8)}, {str(i) for i in range(0, 32, 2)}):
        one, other = (sum(clients[0] in costly for clients in ref.groups) for ref in handed_out[:2])
        assert one == other


def test_after_a_death_groups_are_handed_out_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_out: list[Ref] = []
    carried_out(monkeypatch, [[str(i)] for i in range(12)], lambda clients: "0" in clients, 2, 10, handed_out)
    after = handed_out[next(i for i, ref in enumerate(handed_out) if ref.groups == (("0",),)) :]
    assert after
    assert all(len(ref.groups) == 1 for ref in after)
