"""Workers that kill a relay's process on purpose; importable in Ray's processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from hybridsplit.runtime.executors.ray_relay_worker import RemoteRelayWorker
from hybridsplit.runtime.relays.messages import Downward, Upward
from hybridsplit.runtime.relays.upper import StageOutcome, UpperMachines
from hybridsplit.runtime.split.parts import State
from hybridsplit.scenarios.contracts.assignment import Assignment
from hybridsplit.scenarios.schema import Scenario


@dataclass(frozen=True)
class KillsRelay:
    """Makes workers that end the process of a machine in the second round of a client.

    Parameters
    ----------
    node
        Whose process.
    client
        In whose round.
    sent
        After how many micro-batches the client has sent.
    once
        A file that says it has happened, so that it does not happen again; every time when None.
    how
        The signal; ``SIGSTOP`` lets the process hang without dying.
    """

    node: str
    client: str
    sent: int
    once: Path | None
    how: signal.Signals = signal.SIGKILL

    def __call__(self, scenario: Scenario, num_threads: int) -> RemoteRelayWorker:
        return _KillingWorker(scenario, num_threads, self)


class _KillingWorker(RemoteRelayWorker):
    def __init__(self, scenario: Scenario, num_threads: int, kills: KillsRelay) -> None:
        super().__init__(scenario, num_threads)
        self._kills = kills

    def machines_above(
        self, assignment: Assignment, round_index: int, optimizer_states: Mapping[str, State], *, measure_memory: bool
    ) -> UpperMachines:
        above = super().machines_above(assignment, round_index, optimizer_states, measure_memory=measure_memory)
        if assignment.client != self._kills.client or round_index != 1:
            return above
        return _Killing(above, self._kills, self._hosts[self._kills.node])


class _Killing:
    """Machines above a client, one of which dies."""

    def __init__(self, above: UpperMachines, kills: KillsRelay, host: Any) -> None:
        self._above, self._kills, self._host, self._left = above, kills, host, kills.sent

    def send(self, message: Upward) -> None:
        self._above.send(message)
        self._left -= 1
        if self._left == 0:
            self._kill()

    def receive(self) -> Downward:
        return self._above.receive()

    def finish(self) -> tuple[StageOutcome, ...]:
        if self._left > 0:
            self._kill()
        return self._above.finish()

    def _kill(self) -> None:
        once = self._kills.once
        if once is not None:
            if once.exists():
                return
            once.touch()
        os.kill(ray.get(self._host.__ray_call__.remote(_pid)), self._kills.how)


def _pid(actor: Any) -> int:
    return os.getpid()
