"""Births and ends of storages in order, so that a part of them can be played again with other things alive."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hybridsplit.runtime.split.live_bytes import LiveBytes


class NotComposableError(Exception):
    """Something's memory does not follow from its parts; only tracing the whole tells."""


class EventLog(LiveBytes):  # type: ignore[no-untyped-call]
    """Live bytes, and every change of them.

    Attributes
    ----------
    events
        Number of a storage, counted from 1 in order of birth, and its bytes: positive at birth, negative at the end.
    num_born
        Storages so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[int, int]] = []
        self.num_born = 0
        self._number_of: dict[int, int] = {}

    def start_afresh(self) -> None:
        """From now on, the peak is that of what comes."""
        self.peak_bytes = self.live_bytes

    def number_of(self, tensor: Tensor) -> int:
        """Return the number of a tensor's storage; 0 where it is not counted."""
        storage = tensor.untyped_storage()
        known = self._known.get(id(storage))
        return self._number_of[id(storage)] if known is not None and known() is storage else 0

    def is_live(self, number: int) -> bool:
        """Whether a storage is alive."""
        return sum(change > 0 for n, change in self.events if n == number) > sum(
            change <= 0 for n, change in self.events if n == number
        )

    def live_after(self, num_events: int) -> set[int]:
        """Return the numbers of storages with bytes that are alive after some of the events."""
        live: set[int] = set()
        for number, change in self.events[:num_events]:
            if change > 0:
                live.add(number)
            else:
                live.discard(number)
        return live

    def _born(self, key: int, size_bytes: int) -> Any:
        super()._born(key, size_bytes)
        self.num_born += 1
        self._number_of[key] = self.num_born
        self.events.append((self.num_born, size_bytes))
        return self.num_born, size_bytes

    def _freed(self, block: Any) -> None:
        number, size_bytes = block
        self.events.append((number, -size_bytes))
        super()._freed(size_bytes)
