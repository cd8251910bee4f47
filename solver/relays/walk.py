"""A round of all clients in time: every machine and link direction serves one piece of work at a time, as they arrive.

Work that arrives at the same moment is served in the order of turns, and of the clients where these are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hybridsplit.scenarios.compiled.compiling import PYTHON, Form, form_for
from hybridsplit.scenarios.contracts.relay_costs import IntArray
from hybridsplit.solver.relays.columns import Column
from hybridsplit.solver.relays.jobs import OWN, jobs_of
from hybridsplit.solver.relays.kernels.serving import NOBODY, Clients, Kinds, Standing, serve

_COMPILE_S, _PART_SAVED = 2.5, 0.8
"""How long serving takes to compile, and what part of the time of many walks that saves."""
_MOST_KEPT = 200_000
"""So many jobs are laid out before a walk begins anew: placements that are tried only once are forgotten."""


def form_of_walks(walking_s: float) -> Form:
    """Return the form in which rounds are walked for so long, compiled where that pays.

    Parameters
    ----------
    walking_s
        Seconds that are to be spent on walks.
    """
    return form_for(serve, _PART_SAVED * walking_s, _COMPILE_S)


class Walker:
    """Rounds of clients whose placements are of the same routes: their jobs are laid out once.

    Parameters
    ----------
    trains
        Whether gradients come back.
    form
        How rounds are walked; the seconds are the same to the bit.
    """

    def __init__(self, *, trains: bool, form: Form = PYTHON) -> None:
        self._trains, self._form = trains, form
        self._forget()

    def _forget(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}
        self._shared: dict[str, int] = {}
        self._resources: list[IntArray] = []
        self._sizes: list[int] = []
        self._kinds = Kinds([0], [], [], [], [], [0], [])
        self._given = self._kinds

    def ends_s(self, placed: Sequence[tuple[Column, tuple[int, ...]]], turns: Sequence[int] = ()) -> list[float]:
        """Return when every client ends.

        Parameters
        ----------
        placed
            Placement and warm-up depths of every client, in order.
        turns
            Whose turn it is of those who arrive at once; all equal when empty.
        """
        order = sorted(range(len(placed)), key=turns.__getitem__) if turns else range(len(placed))
        if self._kinds.first[-1] > _MOST_KEPT:
            self._forget()
        known = len(self._sizes)
        kind_of = {at: self._kind(*one) for at, one in {id(one): one for one in placed}.items()}
        kinds = [kind_of[id(placed[index])] for index in order]
        if self._given is self._kinds or len(self._sizes) > known:
            self._given = self._form.vectors(self._kinds)
        parts = [self._resources[kind] for kind in kinds]
        resources = np.concatenate(parts)
        own = np.flatnonzero(resources < 0)
        resources[own] = len(self._shared) + np.arange(len(own))
        first = np.cumsum([0, *map(len, parts)])[:-1]
        clients = self._form.vectors(Clients(kinds, first.tolist(), resources.tolist()))
        last = np.cumsum([self._sizes[kind] for kind in kinds]) - 1
        standing = self._standing(len(placed), int(last[-1]) + 1, len(self._shared) + len(own))
        self._form.of(serve)(self._given, clients, standing)
        ends = [math.nan] * len(placed)
        for index, job in zip(order, last.tolist(), strict=True):
            ends[index] = float(standing.done_s[job])
        return ends

    def _standing(self, num_clients: int, num_jobs: int, num_resources: int) -> Standing:
        filled = self._form.filled
        return Standing(
            filled(0, num_clients), filled(0, num_jobs), filled(0, num_jobs), filled(math.nan, num_jobs),
            filled(NOBODY, num_resources), filled(NOBODY, num_resources), filled(False, num_resources),
            filled(NOBODY, num_jobs), filled(NOBODY, num_jobs), filled(0.0, num_jobs),
        )  # fmt: skip

    def _kind(self, column: Column, depths: tuple[int, ...]) -> int:
        """Return the number of a kind of client, whose jobs are laid out behind the others when it is new."""
        key = column.key, column.route.steps, depths
        if key in self._numbers:
            return self._numbers[key]
        jobs, kinds = jobs_of(column, depths, trains=self._trains), self._kinds
        kinds.first.append(kinds.first[-1] + len(jobs.seconds))
        kinds.seconds.extend(jobs.seconds)
        kinds.delay_s.extend(jobs.delay_s)
        kinds.resource.extend(jobs.resource)
        kinds.waits.extend(jobs.waits)
        for behind in jobs.behind:
            kinds.behind.extend(behind)
            kinds.behind_first.append(len(kinds.behind))
        self._sizes.append(len(jobs.seconds))
        shared = [
            -1 if name.startswith(OWN) else self._shared.setdefault(name, len(self._shared)) for name in jobs.names
        ]
        self._resources.append(np.array(shared, dtype=np.int64))
        return self._numbers.setdefault(key, len(self._numbers))


def walk(placed: Sequence[tuple[Column, tuple[int, ...]]], turns: Sequence[int] = (), *, trains: bool) -> list[float]:
    """Return when every client ends.

    Parameters
    ----------
    placed
        Placement and warm-up depths of every client, in order.
    turns
        Whose turn it is of those who arrive at once; all equal when empty.
    trains
        Whether gradients come back.
    """
    return Walker(trains=trains).ends_s(placed, turns)
