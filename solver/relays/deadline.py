"""Whether all clients can be through by a deadline, as a linear programme over placements whose work has windows.

Of T seconds, a machine or link direction has b - a between two moments a and b, whatever it serves first. A placement's
pieces of work lie within [head, T - tail] (:mod:`hybridsplit.solver.relays.windows`), so that a part of them must be
done between a and b wherever they are placed. With x clients of each placement,

    sum of x times what must be done between a and b  <= b - a     for every resource, a and b
    sum of memory at a node                           <= its memory
    sum of a group's x                                =  its clients

holds in every plan of at most T seconds. If it cannot, no plan is that short. Moments are added where the solution so
far asks too much, and placements where the duals price them below those that are known: the least price of every group
is a proof at any prices. Groups that are alike are one, since the mean over them keeps all rows.

A placement may also be split by when its upload begins: what comes before is through by then, and the upload is not
begun earlier. Each client has one such end, so the rows hold for the finer choice too, and more of them fail.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import FloatArray
from hybridsplit.solver.relays.alike import alike_groups, users_of
from hybridsplit.solver.relays.deadline_rows import CERTAIN, Chosen, Rows, Variants
from hybridsplit.solver.relays.routes import Route
from hybridsplit.solver.relays.windows import Listed, Windows, every_cuts, listed_placements, num_placements

MOST_LISTED, _MOST_VARIANTS = 20_000, 200_000
_MOST_TURNS = 60
_KEPT = 4
_NEAR, _FIRST_STEP = 5e-4, 0.01


class Deadline:
    """The programme for any deadline.

    Parameters
    ----------
    routes
        Routes of all groups.
    counts
        Clients of every group.
    memory_bytes
        Memory of the nodes where it is limited.
    """

    def __init__(self, routes: Sequence[Route], counts: dict[str, int], memory_bytes: dict[str, float]) -> None:
        self.kinds = alike_groups(routes, counts)
        self._users = users_of(routes)
        self._memory = memory_bytes
        self.total = np.array([float(counts[groups[0]] * len(groups)) for groups in self.kinds])
        self.listed: list[Listed] = []
        self.kind_of: list[int] = []
        for kind, groups in enumerate(self.kinds):
            for route in routes:
                if route.group == groups[0]:
                    self.listed.append(listed_placements(route, every_cuts(route)))
                    self.kind_of.append(kind)
        self._moments: dict[tuple[str, float, float], int] = {}
        self._known: set[tuple[int, int]] = set()
        self._is_stopped = False

    def stop(self) -> None:
        """Let a search in another thread end with what it has, after the programme that it solves."""
        self._is_stopped = True

    def _is_over(self, until: float) -> bool:
        return self._is_stopped or time.monotonic() > until

    def own_machines(self, group: str) -> list[str]:
        """Return the shared machines that only one group uses.

        Parameters
        ----------
        group
            Its name.
        """
        return [name for name, users in self._users.items() if users == {group} and ">" not in name]

    @property
    def num_placements(self) -> int:
        """Placements of all kinds."""
        return sum(len(listed.cuts) for listed in self.listed)

    def takes(self, ends: int) -> bool:
        """Return whether ends may be split into so many intervals: few enough placements in all of them.

        Parameters
        ----------
        ends
            Number of intervals.
        """
        return ends * self.num_placements <= _MOST_VARIANTS

    @staticmethod
    def is_listable(routes: Sequence[Route], counts: dict[str, int]) -> bool:
        """Return whether there are few enough placements to list them.

        Parameters
        ----------
        routes, counts
            Routes of all groups, and their clients.
        """
        first = {groups[0] for groups in alike_groups(routes, counts)}
        return sum(num_placements(route) for route in routes if route.group in first) <= MOST_LISTED

    def shortest(
        self, low_s: float, high_s: float, until: float, *, ends: int = 1, room: float = 1.0
    ) -> tuple[float, tuple[Chosen, ...]]:
        """Return the longest deadline that is certainly too short, by halving, and a solution for one hardly longer.

        Parameters
        ----------
        low_s, high_s
            A deadline that is too short, and one at which to stop.
        until
            Moment of the monotonic clock to end at.
        ends
            Into how many intervals the ends of clients are split.
        room
            Share of any interval that machines may be asked for; only with all of it the result is a bound.
        """
        found: tuple[Chosen, ...] = ()
        step = _FIRST_STEP
        while high_s > low_s * (1 + _NEAR) and not self._is_over(until):
            # What is too short is often near to what is known to be, and far from the plan.
            middle_s = (low_s + high_s) / 2 if low_s <= 0 else min((low_s + high_s) / 2, low_s * (1 + step))
            step *= 2
            too_short, chosen = self._tried(middle_s, ends, until, room)
            if too_short:
                low_s = middle_s
            else:
                high_s, found = middle_s, chosen
        return low_s, found

    def _tried(self, round_s: float, ends: int, until: float, room: float) -> tuple[bool, tuple[Chosen, ...]]:
        """Whether it is certain that no plan is as short, and a solution of the programme so far."""
        variants = self._variants(round_s, ends)
        if len(set(variants.kind.tolist())) < len(self.kinds):
            return True, ()
        rows = Rows(variants, self.total, self._known, round_s, room)
        known = [one for one in self._moments if one[0] in variants.windows]
        moments = list(dict.fromkeys([*((name, 0.0, 1.0) for name in variants.windows), *known]))
        for name, start, end in moments:
            rows.add(name, start * round_s, end * round_s)
        weights = np.zeros(0)
        for _ in range(_MOST_TURNS):
            weights, asked, proven = rows.solve()
            used = rows.active[weights > CERTAIN]
            self._known |= {(int(variants.listed[j]), int(variants.place[j])) for j in used}
            if proven > 1 + CERTAIN:
                self._keep(moments, rows.binding)
                return True, ()
            if self._is_over(until):
                break
            if asked > 1 + CERTAIN:
                if not rows.priced():
                    break
                continue
            found = rows.crowded(weights)
            if not found:
                break
            for name, start, end in found:
                moments.append((name, start / round_s, end / round_s))
                rows.add(name, start, end)
        self._keep(moments, rows.binding)
        return False, rows.chosen(weights)

    def _keep(self, moments: list[tuple[str, float, float]], binding: set[int]) -> None:
        """Remember moments for other deadlines, but those that have decided nothing for a while."""
        ages = {one: 0 if n in binding else self._moments.get(one, 0) + 1 for n, one in enumerate(moments)}
        self._moments = {one: age for one, age in ages.items() if age <= _KEPT}

    def _variants(self, round_s: float, ends: int) -> Variants:
        """Placements that can be through by the deadline, once for each interval that their upload may begin in."""
        edges = self._edges(round_s, ends)
        parts: list[list[FloatArray]] = [[] for _ in range(6)]
        windows: dict[str, list[tuple[slice, Windows, int]]] = {}
        count = 0
        for number, listed in enumerate(self.listed):
            kind = self.kind_of[number]
            of_kind = len(self.kinds[kind])
            begins = listed.alone_s - listed.upload_s
            last_of = np.minimum(edges[1:, None], round_s - listed.upload_s)
            is_in_time = (listed.alone_s <= round_s * (1 + CERTAIN)) & (begins <= last_of * (1 + CERTAIN))
            interval, places = np.nonzero(is_in_time & (last_of >= edges[:-1, None]))
            if not len(places):
                continue
            at = slice(count, count + len(places))
            count += len(places)
            first_s, last_s = edges[interval], last_of[interval, places]
            sooner = (round_s - listed.upload_s)[places] - last_s
            later = np.maximum(first_s - begins[places], 0.0)
            for name, window in listed.windows.items():
                moved = replace(
                    window,
                    head_s=window.head_s[places] + later[:, None] * window.is_after,
                    seconds=window.seconds[places],
                    tail_s=window.tail_s[places] + sooner[:, None] * ~window.is_after,
                )
                share = of_kind if len(self._users[name]) == 1 else 1
                windows.setdefault(name, []).append((at, moved, share))
            memory = [
                listed.memory_bytes.get(node, np.zeros(len(listed.cuts)))[places]
                / (size * (of_kind if len(self._users[node]) == 1 else 1))
                for node, size in self._memory.items()
            ]
            which = np.full(len(places), number), places, np.full(len(places), kind)
            values = *which, first_s, last_s, np.array(memory).reshape(-1, len(places)).T
            for part, value in zip(parts, values, strict=True):
                part.append(value)
        nothing = np.zeros(0)
        joined = [np.concatenate(part) if part else nothing for part in parts]
        whole = [one.astype(np.int64) for one in joined[:3]]
        return Variants(whole[0], whole[1], whole[2], joined[3], joined[4], windows, joined[5])

    def _edges(self, round_s: float, ends: int) -> FloatArray:
        """Intervals of the time in which uploads must begin, of equal length but the first, which begins the round."""
        work: dict[str, float] = {}
        for number, listed in enumerate(self.listed):
            for name, window in listed.windows.items():
                after = (window.seconds * window.is_after).sum(axis=1).max(initial=0.0)
                work[name] = max(work.get(name, 0.0), float(after) * self.total[self.kind_of[number]])
        begin_s = max(0.0, round_s - max(work.values(), default=0.0))
        edges = np.linspace(begin_s, round_s, ends + 1)
        edges[0] = 0.0
        return edges
