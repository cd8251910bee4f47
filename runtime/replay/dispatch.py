"""A shared resource that serves, of the clients that wait, the most urgent one, as events of the simulation.

What is asked for within a moment counts as asked for at once: the choice is made a moment later than it is dated, so
that rounding decides nothing. A client whose link is in a fade stands behind all whose links are not; while it is
served, it gives way to any of them.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import simpy


@dataclass(order=True)
class Request:
    """A client that waits for the resource, or has it; the smallest is served first."""

    fades: bool
    minus_left_s: float
    rank: int
    asked_s: float = field(compare=False)
    granted: simpy.Event = field(compare=False)
    withdrawn: bool = field(default=False, compare=False)


class Dispatcher:
    """One resource, whole for one client at a time.

    Parameters
    ----------
    environment
        The simulation.
    moment_s
        Requests within it of each other count as made at once.
    """

    def __init__(self, environment: simpy.Environment, moment_s: float) -> None:
        self._environment = environment
        self.moment_s = moment_s
        self._waiting: list[Request] = []
        self._decides = False
        self._served: Request | None = None
        self._free_s = 0.0
        self.wanted = environment.event()
        """Happens when a client without a fade asks while one with a fade is served."""

    def request(self, left_s: float, rank: int, *, fades: bool = False) -> Request:
        """Ask for the resource; the event ``granted`` comes with the time from which it is the client's.

        Parameters
        ----------
        left_s
            Seconds that the client has left, its urgency added.
        rank
            Its place among equals.
        fades
            Whether its link is in a fade.
        """
        environment = self._environment
        asked = Request(fades, -left_s, rank, environment.now, environment.event())
        heapq.heappush(self._waiting, asked)
        if self._served is None:
            self._decide_soon()
        elif self._served.fades and not fades and not self.wanted.triggered:
            self.wanted.succeed()
        return asked

    def release(self) -> None:
        """Give the resource back."""
        self._served, self._free_s = None, self._environment.now
        if self._waiting:
            self._decide_soon()

    def withdraw(self, request: Request) -> None:
        """Take back a request that has not been granted."""
        request.withdrawn = True

    def _decide_soon(self) -> None:
        if not self._decides:
            self._decides = True
            self._environment.timeout(self.moment_s).callbacks.append(self._decide)

    def _decide(self, _event: simpy.Event) -> None:
        self._decides = False
        while self._waiting and self._waiting[0].withdrawn:
            heapq.heappop(self._waiting)
        if not self._waiting:
            return
        chosen = heapq.heappop(self._waiting)
        self._served = chosen
        if self.wanted.triggered:
            self.wanted = self._environment.event()
        chosen.granted.succeed(max(self._free_s, chosen.asked_s))
        if chosen.fades and any(not other.fades and not other.withdrawn for other in self._waiting):
            self.wanted.succeed()
