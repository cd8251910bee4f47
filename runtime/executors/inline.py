"""The reference executor: everything in this process, one client after another."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch

from runtime.client import Assignment, ClientRound
from runtime.split import State
from runtime.worker import Worker
from scenarios.schema import Scenario


class InlineExecutor:
    """Trains in this process.

    Parameters
    ----------
    scenario
        The scenario.
    num_threads
        Torch threads; restored on exit.
    """

    def __init__(self, scenario: Scenario, num_threads: int = 1) -> None:
        self._scenario = scenario
        self._num_threads = num_threads
        self._threads_before = torch.get_num_threads()
        self._worker: Worker | None = None

    def __enter__(self) -> Self:
        self._worker = Worker(self._scenario, self._num_threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker = None
        torch.set_num_threads(self._threads_before)

    @property
    def _ready(self) -> Worker:
        assert self._worker is not None, "use the executor as a context manager"
        return self._worker

    def initial_state(self) -> State:
        """Return the state training starts from."""
        return self._ready.initial_state()

    def train_round(
        self, state: State, assignments: Sequence[Assignment], round_index: int, *, measure_memory: bool
    ) -> list[ClientRound]:
        """Train all clients for one round from the same state."""
        worker = self._ready
        return [worker.train(state, a, round_index, measure_memory=measure_memory) for a in assignments]

    def evaluate(self, state: State) -> float:
        """Return the test accuracy of a global state."""
        return self._ready.evaluate(state)
