"""One process on Ray that is always there: another takes its place where it dies or does not come to life."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ray

from hybridsplit.runtime.executors.ray_pool import first_line
from hybridsplit.runtime.executors.ray_waiting import alive

_Result = TypeVar("_Result")


class LivingProcess:
    """A process, started at once and waited for when it is first needed.

    Parameters
    ----------
    start
        Starts an actor and returns it.
    name
        The process in words.
    num_retries
        How often in a row work is repeated after it has died.
    on_event
        Called with what happened to it, in words.
    """

    def __init__(self, start: Callable[[], Any], name: str, num_retries: int, on_event: Callable[[str], None]) -> None:
        self._start, self._name, self._num_retries, self._say = start, name, num_retries, on_event
        self.actor: Any = start()
        self._is_alive = False

    def stop(self) -> None:
        """Kill it."""
        ray.kill(self.actor)

    def on(self, ask: Callable[[Any], _Result], what: str) -> _Result:
        """Ask the process, and a new one where it has died.

        Parameters
        ----------
        ask
            Asks the actor that it is given.
        what
            What it did when it died, in words.

        Raises
        ------
        ray.exceptions.RayError
            If the task failed, or the process died again and again.
        RunError
            If none comes to life, or the cluster cannot go on.
        """
        for attempt in range(self._num_retries + 1):
            try:
                return ask(self._living())
            except ray.exceptions.RayActorError as error:
                if attempt == self._num_retries:
                    raise
                self._say(f"{self._name} died while {what} ({first_line(error)}); another one took over")
                ray.kill(self.actor)
                self.actor, self._is_alive = self._start(), False
        raise AssertionError("unreachable")

    def _living(self) -> Any:
        if not self._is_alive:
            started = [self.actor]
            self.actor = alive(lambda: started.pop() if started else self._start(), self._name)
            self._is_alive = True
        return self.actor
