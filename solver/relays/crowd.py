"""Rounds of many clients: whole clients from the programme by a deadline, and whose turn it is when a round begins.

The programme (:mod:`hybridsplit.solver.relays.deadline`) says how many clients of every kind of group take each
placement and when their uploads begin. With a share of the machines alone, it leaves room for what it does not see:
work that comes in whole pieces, and clients that wait for each other. Each solution is dealt to the groups so that
their own machines are equally busy, clients are let in by the slack that they have, and the round is walked: the
shortest counts. It is then changed a little at a time (:mod:`hybridsplit.solver.relays.changes`), and kept where it is
no longer. Changes come from a stream of the scenario's seed. How many solutions are walked first, and how many changes
are made, is limited by number and by time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import FloatArray
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.solver.relays.changes import Begun, Changes
from hybridsplit.solver.relays.deadline import Deadline
from hybridsplit.solver.relays.dealing import begins_of, dealt_clients, nth_of_group, turns_of
from hybridsplit.solver.relays.task import Placed, Task, fits_memory, with_deep_depths
from hybridsplit.solver.relays.walk import Walker, form_of_walks

_ROOMS = (0.75, 0.65, 0.7, 0.85)
_STARTING = 0.2
"""Share of the time after which no further solution is asked for."""
_ENDS = 6
_WAITS = (0.5, 0.3, 1.0)
"""Shares of their slack after which clients that use shared machines are let in."""
_MOST_CHANGES = 4_000


class Crowd(NamedTuple):
    """A round of many clients.

    Parameters
    ----------
    placed, turns
        Placement of every client, and whose turn it is when a round begins.
    value_s
        Seconds of the round.
    """

    placed: Placed
    turns: tuple[int, ...]
    value_s: float


@dataclass(frozen=True)
class _Round:
    """Clients with when they are to begin, and the round that this gives."""

    begun: Begun
    crowd: Crowd
    ends_s: FloatArray


class Crowds:
    """Rounds of many clients, shorter and shorter.

    Parameters
    ----------
    task, deadline
        What is planned, and the programme over its placements.
    bound_s, below_s
        A bound of the round, and a round that is known.
    until
        Moment of the monotonic clock to end at.
    """

    def __init__(self, task: Task, deadline: Deadline, bound_s: float, below_s: float, until: float) -> None:
        self._task, self._until, self._below_s = task, until, below_s
        self._enough_s = bound_s * (1 + task.scenario.search.gap)
        self._walker = Walker(trains=task.trains, form=form_of_walks(until - time.monotonic()))
        self._nth = nth_of_group(task.groups)
        self._best: _Round | None = None
        self._start(deadline, bound_s)

    def _start(self, deadline: Deadline, bound_s: float) -> None:
        """Walk what the programme chooses with parts of the machines."""
        now = time.monotonic()
        until = now + _STARTING * (self._until - now)
        for room in _ROOMS:
            value_s = self._below_s if self._best is None else self._best.crowd.value_s
            if self._is_enough or time.monotonic() > until:
                break
            _, chosen = deadline.shortest(bound_s, value_s, self._until, ends=_ENDS, room=room)
            dealt = tuple(dealt_clients(self._task, deadline, chosen))
            for share in _WAITS if dealt else ():
                self._try(Begun(dealt, begins_of(dealt, share)))

    @property
    def best(self) -> Crowd | None:
        """The shortest round so far; None where none is shorter than what was known."""
        best = self._best
        return best.crowd if best is not None and best.crowd.value_s < self._below_s else None

    def change(self) -> bool:
        """Change the shortest round as long as that makes none longer; return whether it came near enough."""
        if self._best is None:
            return False
        random = np.random.default_rng(stream_seed(self._task.scenario.seed, "relays", "crowds"))
        changes = Changes(self._task.routes, self._best.begun.dealt, random)
        for _ in range(_MOST_CHANGES):
            if self._is_enough or time.monotonic() > self._until:
                break
            changed = changes.drawn(self._best.begun, self._best.ends_s)
            if changed is not None:
                self._try(changed)
        return self._is_enough

    @property
    def _is_enough(self) -> bool:
        return self._best is not None and self._best.crowd.value_s <= self._enough_s

    def _try(self, begun: Begun) -> None:
        """Walk a round, and keep it where it is no longer than the shortest so far."""
        columns = [one.column for one in begun.dealt]
        if not fits_memory(self._task, columns):
            return
        placed, turns = with_deep_depths(self._task, columns), turns_of(self._nth, begun.begins_s)
        ends_s = np.array(self._walker.ends_s(placed, turns))
        value_s = float(ends_s.max())
        if self._best is None or value_s <= self._best.crowd.value_s:
            self._best = _Round(begun, Crowd(placed, turns, value_s), ends_s)
