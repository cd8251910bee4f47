"""Small changes of a round of many clients: which placement some take, and when they begin.

Clients of one kind of group with the same placement are a class. A change lets a class begin sooner or later, or gives
one client of some groups the placement of another class, or one that is near its own: a cut by one block, or another
number of micro-batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import FloatArray, IntArray
from hybridsplit.solver.relays.columns import Column, column_of
from hybridsplit.solver.relays.dealing import Dealt
from hybridsplit.solver.relays.routes import Route, is_possible

_LATER = (-0.05, -0.025, -0.01, -0.004, 0.004, 0.01, 0.025, 0.05)
"""Parts of a round by which clients of a class begin later."""
_STRETCHED = (0.25, 0.5, 0.8, 1.25, 2.0)
_PARTS = (0.0, 0.25, 0.5, 1.0)
"""Parts of the groups of a kind, one at least, in which clients change."""
_LET_IN, _NEAR = 0.35, 0.3
"""How often clients begin at another time, and how often others take a near placement."""


class Begun(NamedTuple):
    """Clients with when they are to begin.

    Parameters
    ----------
    dealt, begins_s
        All clients, and [N] when each begins.
    """

    dealt: tuple[Dealt, ...]
    begins_s: FloatArray


class Changes:
    """Changes of rounds, drawn one after another.

    Parameters
    ----------
    routes
        Routes of all groups.
    dealt
        Clients of any round.
    random
        Where they are drawn from.
    """

    def __init__(self, routes: Sequence[Route], dealt: Sequence[Dealt], random: np.random.Generator) -> None:
        self._random = random
        self._routes: dict[str, list[Route]] = {}
        for route in routes:
            self._routes.setdefault(route.group, []).append(route)
        self._places = {id(route): place for of in self._routes.values() for place, route in enumerate(of)}
        self._groups = list(self._routes)
        numbers = {group: number for number, group in enumerate(self._groups)}
        self._group = np.array([numbers[one.column.route.group] for one in dealt])
        self._columns: dict[tuple[str, int, tuple[int, ...]], Column] = {}
        self._round: Begun | None = None
        self._classes: list[IntArray] = []

    def drawn(self, begun: Begun, ends_s: FloatArray) -> Begun | None:
        """Return a change of a round; None where what was drawn is none.

        Parameters
        ----------
        begun, ends_s
            The round, and [N] when its clients end.
        """
        if begun is not self._round:
            self._round, self._classes = begun, self._classes_of(begun)
        weights = np.sqrt([len(one) for one in self._classes])
        chosen = self._classes[int(self._random.choice(len(self._classes), p=weights / weights.sum()))]
        if self._random.random() < _LET_IN:
            return self._let_in(begun, chosen, float(ends_s.max()))
        if self._random.random() < _NEAR:
            return self._moved_near(begun, ends_s, chosen)
        return self._moved_to_another(begun, ends_s, chosen)

    def _classes_of(self, begun: Begun) -> list[IntArray]:
        found: dict[tuple[object, ...], list[int]] = {}
        for index, one in enumerate(begun.dealt):
            found.setdefault((one.kind, self._places[id(one.column.route)], one.column.cuts), []).append(index)
        return [np.array(members) for members in found.values()]

    def _some_groups(self, members: IntArray) -> IntArray:
        groups = np.unique(self._group[members])
        count = max(1, round(len(groups) * float(self._random.choice(_PARTS))))
        return np.asarray(self._random.permutation(groups)[:count])

    def _let_in(self, begun: Begun, chosen: IntArray, round_s: float) -> Begun:
        """Let clients of a class begin sooner or later."""
        if self._random.random() < 0.5:
            chosen = chosen[np.isin(self._group[chosen], self._some_groups(chosen))]
        begins_s = begun.begins_s.copy()
        if self._random.random() < 0.5:
            begins_s[chosen] += float(self._random.choice(_LATER)) * round_s
        else:
            begins_s[chosen] *= float(self._random.choice(_STRETCHED))
        return Begun(begun.dealt, begins_s)

    def _moved_to_another(self, begun: Begun, ends_s: FloatArray, chosen: IntArray) -> Begun | None:
        """Give clients of a class the placement of another, with when one of these begins."""
        kind = begun.dealt[chosen[0]].kind
        others = [one for one in self._classes if begun.dealt[one[0]].kind == kind and one is not chosen]
        if not others:
            return None
        new = others[int(self._random.integers(len(others)))]
        like = begun.dealt[new[0]].column
        begin_s = float(self._random.choice(begun.begins_s[new]))
        return self._moved(begun, ends_s, chosen, self._places[id(like.route)], like.cuts, begin_s)

    def _moved_near(self, begun: Begun, ends_s: FloatArray, chosen: IntArray) -> Begun | None:
        """Give clients of a class a placement near their own."""
        column = begun.dealt[chosen[0]].column
        routes, cuts = self._routes[column.route.group], list(column.cuts)
        place = self._places[id(column.route)]
        if self._random.random() < _NEAR:
            same = [n for n, one in enumerate(routes) if one.nodes == column.route.nodes]
            place = same[int(self._random.integers(len(same)))]
        if place == self._places[id(column.route)]:
            cuts[int(self._random.integers(len(cuts)))] += int(self._random.choice((-1, 1)))
        is_in_order = cuts == sorted(cuts) and cuts[0] >= 0 and cuts[-1] <= column.route.chain.num_blocks
        if not is_in_order or not is_possible(routes[place], tuple(cuts)):
            return None
        return self._moved(begun, ends_s, chosen, place, tuple(cuts), None)

    def _moved(
        self, begun: Begun, ends_s: FloatArray, chosen: IntArray, place: int, cuts: tuple[int, ...],
        begin_s: float | None,
    ) -> Begun:  # fmt: skip
        """Give one client of a class in some groups a placement: the last to end, or any."""
        dealt, begins_s = list(begun.dealt), begun.begins_s.copy()
        for group in self._some_groups(chosen):
            members = chosen[self._group[chosen] == group]
            last = self._random.random() < 0.5
            index = members[int(ends_s[members].argmax() if last else self._random.integers(len(members)))]
            dealt[index] = dealt[index]._replace(column=self._column(self._groups[group], place, cuts))
            if begin_s is not None:
                begins_s[index] = begin_s
        return Begun(tuple(dealt), begins_s)

    def _column(self, group: str, place: int, cuts: tuple[int, ...]) -> Column:
        """A placement on the route of a group; the routes of alike groups are in the same order."""
        key = group, place, cuts
        if key not in self._columns:
            self._columns[key] = column_of(self._routes[group][place], cuts)
        return self._columns[key]
