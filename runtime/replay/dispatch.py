"""A shared resource that serves the most urgent of the clients that want it, as events of the simulation.

What is asked for within a moment counts as asked for at once: the choice is made a moment later than it is dated, so
that rounding decides nothing. A more urgent client takes the place of the one that is served, which goes on later where
it was. A client whose link is in a fade stands behind all whose links are not.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Protocol

import simpy

from hybridsplit.runtime.replay.kernels.links import LAST_PART
from hybridsplit.scenarios.contracts.schedule import urgency_key

Action = Callable[[simpy.Event], None]


class Service(Protocol):
    """What a client wants from the resource, in pieces."""

    def end_s(self, start_s: float) -> float:
        """Return when what is left would be done if it went on from a time without a break."""
        ...

    def went_on(self, start_s: float, end_s: float) -> None:
        """Note that it went on between two times, and was not finished."""
        ...

    def fade(self, now_s: float) -> tuple[bool, float]:
        """Return whether the link is in a fade, and when that changes; never is infinity."""
        ...


class Request:
    """A client that waits for the resource, or has it.

    Parameters
    ----------
    left_s
        Seconds that the client has left, its urgency added.
    rank
        Its place among equals.
    service
        What it wants.
    done
        Happens when it has it.
    """

    __slots__ = ("_rank", "_urgency_s", "done", "is_withdrawn", "key", "number", "service", "since_s")

    def __init__(self, left_s: float, rank: int, service: Service, done: simpy.Event) -> None:
        self._urgency_s, self._rank, self.service, self.done = urgency_key(left_s), rank, service, done
        self.since_s, self.number, self.is_withdrawn = 0.0, 0, False
        self.key = self._key(is_fading=False)
        """What the smallest of is served."""

    def note_fade(self, now_s: float) -> float:
        """Bring the key up to date with the link, and return when it changes next."""
        is_fading, changes_s = self.service.fade(now_s)
        self.key = self._key(is_fading=is_fading)
        return changes_s

    def _key(self, *, is_fading: bool) -> tuple[bool, float, int]:
        return is_fading, -self._urgency_s, self._rank


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
        self._environment, self._moment_s = environment, moment_s
        self._waiting: list[tuple[tuple[bool, float, int], int, int, Request]] = []
        self._entered = itertools.count()
        self._served: Request | None = None
        self._asked: dict[simpy.Event, Request] = {}
        self._begun_s, self._ends_s, self._free_s = 0.0, 0.0, 0.0
        self._grants = 0
        self._decides = False

    def serve(self, left_s: float, rank: int, service: Service) -> simpy.Event:
        """Ask for the resource, and return the event that what is wanted is done.

        Parameters
        ----------
        left_s, rank, service
            As of :class:`Request`.
        """
        request = Request(left_s, rank, service, self._environment.event())
        self._asked[request.done] = request
        self._enter(request)
        return request.done

    def withdraw(self, done: simpy.Event) -> None:
        """Take back what was asked for.

        Parameters
        ----------
        done
            The event that :meth:`serve` returned.
        """
        request = self._asked.pop(done, None)
        if request is None:  # it was done at this very moment
            return
        request.number += 1  # no longer the one that waits
        request.is_withdrawn = True
        if request is self._served:
            self._set_aside(self._environment.now)
            self._free_s = self._environment.now
            self._decide_soon()

    def _enter(self, request: Request) -> None:
        """Let a request wait by its key of now; where it fades or stops fading it does so anew."""
        now_s = self._environment.now
        request.number += 1
        request.since_s = now_s
        changes_s = request.note_fade(now_s)
        heapq.heappush(self._waiting, (request.key, next(self._entered), request.number, request))
        if changes_s < math.inf:
            # Rounding may name a change that has just been: the clock goes on all the same.
            earliest_s = max(now_s + self._moment_s, math.nextafter(now_s, math.inf))
            self._at(max(changes_s, earliest_s), lambda _: self._changed(request))
        if self._served is None or request.key < self._served.key:
            self._decide_soon()

    def _changed(self, request: Request) -> None:
        """A fade has begun or ended."""
        if request.done.triggered or request.is_withdrawn:
            return
        if request is self._served:
            # A fade that begins with its last bit is not waited out.
            if self._ends_s - self._environment.now <= LAST_PART * (self._ends_s - self._begun_s):
                return
            self._set_aside(self._environment.now)
            self._free_s = self._environment.now
            self._decide_soon()
        self._enter(request)

    def _decide_soon(self) -> None:
        if not self._decides:
            self._decides = True
            self._at(self._environment.now + self._moment_s, self._decide)

    def _decide(self, _: simpy.Event) -> None:
        self._decides = False
        while self._waiting and self._waiting[0][2] != self._waiting[0][3].number:
            heapq.heappop(self._waiting)
        if not self._waiting or (self._served is not None and self._served.key < self._waiting[0][0]):
            return
        chosen = heapq.heappop(self._waiting)[3]
        chosen.number += 1
        if self._served is None:
            begins_s = max(self._free_s, chosen.since_s)
        else:
            begins_s = max(self._begun_s, chosen.since_s)
            before = self._served
            self._set_aside(begins_s)
            before.number += 1
            heapq.heappush(self._waiting, (before.key, next(self._entered), before.number, before))
        self._served, self._begun_s = chosen, begins_s
        self._grants += 1
        grant, self._ends_s = self._grants, chosen.service.end_s(begins_s)
        self._at(self._ends_s, lambda _: self._ended(grant))

    def _set_aside(self, at_s: float) -> None:
        assert self._served is not None
        self._served.service.went_on(self._begun_s, at_s)
        self._served = None
        self._grants += 1

    def _ended(self, grant: int) -> None:
        if grant != self._grants or self._served is None:
            return
        self._served.number += 1
        del self._asked[self._served.done]
        self._served.done.succeed()
        self._served, self._free_s = None, self._environment.now
        if self._waiting:
            self._decide_soon()

    def _at(self, time_s: float, act: Action) -> None:
        self._environment.timeout(max(0.0, time_s - self._environment.now)).callbacks.append(act)
