"""A machine or a link direction: it serves in order of arrival, and who arrives at once in the order of their turns."""

from __future__ import annotations

import heapq

import simpy

_AFTER_ALL_ELSE = 2
"""Later than every other event of the same moment, whose arrivals count as simultaneous."""


class InOrderOfArrival:
    """One piece of work at a time.

    Parameters
    ----------
    environment
        Where time passes.
    """

    def __init__(self, environment: simpy.Environment) -> None:
        self._environment = environment
        self._waiting: list[tuple[float, int, int, simpy.Event]] = []
        self._is_busy = False
        self._count = 0

    def turn(self, position: int) -> simpy.Event:
        """Return what happens when it is this client's turn.

        Parameters
        ----------
        position
            Of the client, among all by turns.
        """
        granted = self._environment.event()
        self._count += 1
        heapq.heappush(self._waiting, (self._environment.now, position, self._count, granted))
        self._look()
        return granted

    def release(self) -> None:
        """End a turn."""
        self._is_busy = False
        self._look()

    def _look(self) -> None:
        look = simpy.Event(self._environment)
        look._ok, look._value = True, None
        assert look.callbacks is not None
        look.callbacks.append(self._serve)
        self._environment.schedule(look, priority=_AFTER_ALL_ELSE)  # type: ignore[arg-type]

    def _serve(self, _: simpy.Event) -> None:
        if self._waiting and not self._is_busy:
            self._is_busy = True
            heapq.heappop(self._waiting)[3].succeed()
