"""A resource that is divided among all who want it, as events of the simulation.

Between two events everybody goes on at a constant speed. An event is that somebody comes, is done or withdraws, that
what somebody could carry alone changes, or that the rule's parts do.
"""

from __future__ import annotations

import math

import numpy as np
import simpy

from hybridsplit.runtime.replay.allocation import FloatArray, IndexArray, Rule
from hybridsplit.runtime.replay.kernels.links import LAST_PART
from hybridsplit.runtime.replay.speeds import Speed
from hybridsplit.scenarios.errors import RunError

_NOBODY: IndexArray = np.zeros(0, dtype=np.intp)
_NOTHING: FloatArray = np.zeros(0)


class DividedResource:
    """One resource; a client wants one thing of it at a time.

    Parameters
    ----------
    environment
        The simulation.
    rule
        How it is divided.
    num_clients
        How many clients there are in all.
    """

    def __init__(self, environment: simpy.Environment, rule: Rule, num_clients: int) -> None:
        self._environment, self._rule = environment, rule
        self._done: dict[int, simpy.Event] = {}
        self._speed_of: dict[int, Speed] = {}
        self._asked, self._owed, self._served_s = np.zeros(num_clients), np.zeros(num_clients), np.zeros(num_clients)
        self._speeds, self._until_s = np.zeros(num_clients), np.zeros(num_clients)
        self._clients, self._parts, self._rates, self._ends_s = _NOBODY, _NOTHING, _NOTHING, _NOTHING
        self._since_s = environment.now
        self._grants, self._decides = 0, False

    def serve(self, client: int, amount: float, speed: Speed) -> simpy.Event:
        """Ask for the resource.

        Parameters
        ----------
        client
            Who asks, from 0.
        amount
            What is wanted: bits, or seconds at the whole resource.
        speed
            What the client gets done in a second with the whole resource.

        Returns
        -------
        The event that it is done; its value is the seconds of the whole resource that were used.
        """
        self._go_on()
        done = self._done[client] = self._environment.event()
        self._speed_of[client], self._served_s[client] = speed, 0.0
        self._asked[client] = self._owed[client] = amount
        self._until_s[client] = -math.inf
        self._decide_soon()
        return done

    def withdraw(self, client: int) -> None:
        """Take back what a client asked for.

        Parameters
        ----------
        client
            Who asked.
        """
        if client in self._done:  # what is done at this very time is no longer asked for
            self._go_on()
            del self._done[client], self._speed_of[client]
            self._decide_soon()

    def _go_on(self) -> None:
        """Bring what is owed up to the present."""
        seconds = self._environment.now - self._since_s
        if seconds <= 0:
            return
        clients, parts = self._clients, self._parts
        if len(clients):
            self._owed[clients] = np.maximum(self._owed[clients] - self._rates * seconds, 0.0)
            self._served_s[clients] += parts * seconds
        self._rule.went_on(clients, parts, self._speeds[clients], seconds)
        self._since_s = self._environment.now

    def _decide_soon(self) -> None:
        """Divide anew once all has been said that is said at this time."""
        self._grants += 1
        if not self._decides:
            self._decides = True
            self._environment.timeout(0.0).callbacks.append(self._decide)

    def _decide(self, _: simpy.Event) -> None:
        self._decides = False
        self._grants += 1
        now_s = self._environment.now
        if not self._done:
            self._clients, self._parts, self._rates, self._ends_s = _NOBODY, _NOTHING, _NOTHING, _NOTHING
            return
        clients = np.fromiter(self._done, dtype=np.intp, count=len(self._done))
        for client in clients[self._until_s[clients] <= now_s].tolist():
            self._speeds[client], self._until_s[client] = self._speed_of[client].at(now_s)
        speeds = self._speeds[clients]
        parts, lasts_s = self._rule.parts(clients, speeds, math.ulp(now_s))
        rates = parts * speeds
        ends_s = np.full(len(clients), math.inf)
        np.divide(self._owed[clients], rates, out=ends_s, where=rates > 0)
        ends_s += now_s
        next_s = min(float(ends_s.min()), float(self._until_s[clients].min()), now_s + lasts_s)
        if math.isinf(next_s):
            raise RunError(f"{len(clients)} clients wait for a resource that none of them can use, for ever")
        self._clients, self._parts, self._rates, self._ends_s = clients, parts, rates, ends_s
        grant = self._grants
        self._environment.timeout(max(0.0, next_s - now_s)).callbacks.append(lambda _: self._happens(grant, next_s))

    def _happens(self, grant: int, next_s: float) -> None:
        """End what is done at a time, unless something has come before it."""
        if grant != self._grants:
            return
        self._go_on()
        served = self._clients
        is_done = (self._ends_s <= next_s) | (self._owed[served] <= LAST_PART * self._asked[served])
        for client in served[is_done].tolist():
            del self._speed_of[client]
            self._done.pop(client).succeed(float(self._served_s[client]))
        self._decide_soon()
