"""What carries training out: one protocol, two implementations (in this process, or on Ray)."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from runtime.client import Assignment, ClientRound
from runtime.split import State


class Executor(Protocol):
    """Runs clients and evaluation; results come in the order of the assignments, never of arrival."""

    def __enter__(self) -> Self:
        """Start workers."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop workers."""

    def initial_state(self) -> State:
        """Return the state training starts from."""

    def train_round(
        self, state: State, assignments: Sequence[Assignment], round_index: int, *, measure_memory: bool
    ) -> list[ClientRound]:
        """Train all clients for one round from the same state."""

    def evaluate(self, state: State) -> float:
        """Return the test accuracy of a global state."""
