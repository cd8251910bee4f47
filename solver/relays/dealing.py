"""Whole clients from a solution of the programme by a deadline, and when each is to begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import FloatArray
from hybridsplit.solver.relays.columns import Column, column_of
from hybridsplit.solver.relays.deadline import Deadline
from hybridsplit.solver.relays.deadline_rows import Chosen
from hybridsplit.solver.relays.routes import Route
from hybridsplit.solver.relays.task import Task


class Dealt(NamedTuple):
    """A placement for one client.

    Parameters
    ----------
    column, kind
        The placement, and the kind of groups that the client's is of.
    alone_s
        What comes before its upload takes alone.
    from_s, until_s
        When its upload is to begin.
    """

    column: Column
    kind: int
    alone_s: float
    from_s: float
    until_s: float


def dealt_clients(task: Task, deadline: Deadline, chosen: Sequence[Chosen]) -> list[Dealt]:
    """Return whole clients from numbers that need not be whole, in the order of the clients; none if a kind has none.

    Parameters
    ----------
    task, deadline
        What is planned, and the programme over its placements.
    chosen
        Its solution.
    """
    by_group: dict[str, list[Route]] = {}
    for route in task.routes:
        by_group.setdefault(route.group, []).append(route)
    counts = {group.group: group.count for group in task.scenario.clients}
    pools: dict[str, list[Dealt]] = {}
    alike: dict[tuple[str, int, int], Dealt] = {}
    for kind, groups in enumerate(deadline.kinds):
        of_kind = [one for one in chosen if one.kind == kind]
        if not of_kind:
            return []
        busy = [_own_busy_s(deadline, one, groups[0]) for one in of_kind]
        order = sorted(range(len(of_kind)), key=lambda n: (busy[n], of_kind[n].from_s))
        ends = np.round(np.cumsum([of_kind[n].number for n in order])).astype(int)
        ends[-1] = counts[groups[0]] * len(groups)
        whole = [n for n, number in zip(order, np.diff(ends, prepend=0), strict=True) for _ in range(int(number))]
        load, size = dict.fromkeys(groups, 0.0), dict.fromkeys(groups, 0)
        # Those who keep machines of their group busy for longest first, each to the group that is busy for least.
        for n in reversed(whole):
            group = min((one for one in groups if size[one] < counts[one]), key=lambda one: (load[one], size[one]))
            load[group] += busy[n]
            size[group] += 1
            if (group, kind, n) not in alike:
                alike[group, kind, n] = _for_group(deadline, of_kind[n], by_group, group, groups[0])
            pools.setdefault(group, []).append(alike[group, kind, n])
    return [pools[group].pop() for group in task.groups]


def _own_busy_s(deadline: Deadline, one: Chosen, group: str) -> float:
    windows = deadline.listed[one.listed].windows
    return sum(
        float(windows[name].seconds[one.place].sum()) for name in deadline.own_machines(group) if name in windows
    )


def _for_group(deadline: Deadline, one: Chosen, by_group: dict[str, list[Route]], group: str, first: str) -> Dealt:
    listed = deadline.listed[one.listed]
    position = next(n for n, route in enumerate(by_group[first]) if route is listed.route)
    column = column_of(by_group[group][position], tuple(int(cut) for cut in listed.cuts[one.place]))
    alone_s = float(listed.alone_s[one.place] - listed.upload_s[one.place])
    return Dealt(column, one.kind, alone_s, one.from_s, one.until_s)


def begins_of(dealt: Sequence[Dealt], share: float) -> FloatArray:
    """Return [N] when clients are to begin, so that those of an interval end evenly over it.

    Parameters
    ----------
    dealt
        All clients.
    share
        Share of its slack that a client waits if it uses shared machines; others wait as long as they can.
    """
    uses = np.array([any(">" not in name for name in one.column.busy_s) for one in dealt])
    nth = nth_of_group([one.column.route.group for one in dealt])
    inside: dict[tuple[float, float, float], list[int]] = {}
    for index, one in enumerate(dealt):
        inside.setdefault((one.from_s, round(one.until_s, 9), round(one.alone_s, 9)), []).append(index)
    due = np.zeros(len(dealt))
    for (from_s, until_s, alone_s), members in inside.items():
        members.sort(key=lambda index: nth[index])
        first_s = max(from_s, alone_s)
        due[members] = first_s + (until_s - first_s) * np.arange(1, len(members) + 1) / len(members)
    slack = np.maximum(due - np.array([one.alone_s for one in dealt]), 0.0)
    return np.asarray(np.where(uses, share * slack, slack))


def turns_of(nth: Sequence[int], begins_s: FloatArray) -> tuple[int, ...]:
    """Return whose turn it is in the order of the beginnings, clients of a group far apart.

    Parameters
    ----------
    nth, begins_s
        [N] the place of each client in its group, and when it is to begin.
    """
    order = np.lexsort((np.array(nth), np.round(begins_s, 9)))
    turns = np.empty(len(order), dtype=int)
    turns[order] = np.arange(len(order))
    return tuple(turns.tolist())


def nth_of_group(groups: Sequence[str]) -> list[int]:
    """Return [N] the place of each client in its group.

    Parameters
    ----------
    groups
        [N] the group of each.
    """
    seen: dict[str, int] = {}
    nth = []
    for group in groups:
        nth.append(seen.get(group, 0))
        seen[group] = nth[-1] + 1
    return nth
