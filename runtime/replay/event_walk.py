"""Clients walked through rounds event by event, in the order in which the simulation has its events.

What SimPy does of :mod:`hybridsplit.runtime.replay.processes`, without its processes: a heap of times, and functions.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from hybridsplit.runtime.replay.totals import RoundTotals, Timeline, no_totals
from hybridsplit.runtime.replay.work import ClientWork
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.phases import Phase

Event = tuple[float, int, Callable[[Any], None], Any]
"""When; a number by which events of one time are in the order in which they were asked for; what, and with what."""


class EventWalk(ABC):
    """All clients through all rounds.

    Parameters
    ----------
    work
        One item a client.
    attendance
        Who takes part in which round, and the bytes each downloads beyond its work.
    meetings
        How often all clients meet in a round: at its end, or at the end of every step.
    """

    def __init__(self, work: Sequence[ClientWork], attendance: Attendance, meetings: int) -> None:
        self._work, self._rounds = work, attendance.rounds
        self._meetings, self._met = meetings, 0
        self._events: list[Event] = []
        self._number, self._now_s = 0, 0.0
        self._parts: list[Sequence[Any]] = [()] * len(work)
        """By client, what it does in the round, in order; None is a meeting of all clients."""
        self._next = [0] * len(work)
        self._spent: list[RoundTotals] = [{} for _ in work]
        self._arrived: list[tuple[int, float]] = []
        self._totals: list[list[RoundTotals]] = [[] for _ in work]
        self._ends_s: list[float] = []

    def timeline(self) -> Timeline:
        """Go through the events until there are none, and return what was spent."""
        for client in range(len(self._work)):
            self._begin(client)
        events, pop = self._events, heapq.heappop
        while events:
            self._now_s, _, act, of_what = pop(events)
            act(of_what)
        return Timeline(tuple(map(tuple, self._totals)), tuple(self._ends_s))

    @abstractmethod
    def _to_do(self, client: int, extra_bytes: int) -> tuple[Sequence[Any], RoundTotals]:
        """Return the parts of the client's round that begins now, and the totals in which they are counted."""

    @abstractmethod
    def _go_on(self, client: int) -> None:
        """Begin what is next of a client."""

    def _at(self, time_s: float, act: Callable[[Any], None], of_what: Any) -> None:
        self._number += 1
        heapq.heappush(self._events, (time_s, self._number, act, of_what))

    def _later(self, time_s: float, act: Callable[[Any], None], of_what: Any) -> None:
        """Ask for an event as the simulation does, which adds seconds to its clock."""
        wait_s = time_s - self._now_s
        self._number += 1
        then_s = self._now_s + (wait_s if wait_s > 0.0 else 0.0)
        heapq.heappush(self._events, (then_s, self._number, act, of_what))

    def _begin(self, client: int) -> None:
        """Begin a round."""
        index, item = len(self._ends_s), self._work[client]
        extra_bytes = self._rounds[index].get(item.client_id)
        self._next[client] = 0
        if extra_bytes is None:
            self._parts[client], self._spent[client] = (None,) * self._meetings, no_totals()
            self._totals[client].append({})
            self._go_on(client)
            return
        self._parts[client], spent = self._to_do(client, extra_bytes)
        self._spent[client] = spent
        self._totals[client].append(spent)
        if index == 0 and item.start_offset_s > 0:
            spent[Phase.MODEL_DOWNLOAD].waiting_s += item.start_offset_s
            self._at(self._now_s + item.start_offset_s, self._go_on, client)
        else:
            self._go_on(client)

    def _arrive(self, client: int) -> None:
        """Wait for the others; when the last arrives, the step or the round ends."""
        self._arrived.append((client, self._now_s))
        if len(self._arrived) == len(self._work):
            self._met += 1
            if self._met % self._meetings == 0:
                self._ends_s.append(self._now_s)
            self._at(self._now_s, self._meet, self._met % self._meetings == 0)

    def _meet(self, ends_round: bool) -> None:
        arrived, self._arrived = self._arrived, []
        for client, since_s in arrived:
            self._spent[client][Phase.BARRIER].waiting_s += self._now_s - since_s
            if not ends_round:
                self._next[client] += 1
                self._go_on(client)
            elif len(self._ends_s) < len(self._rounds):
                self._begin(client)
