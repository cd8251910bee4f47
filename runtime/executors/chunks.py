"""Which groups a worker is given next: chunks of several at first, single groups towards the end of a round."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hybridsplit.runtime.worker.groups import Group


@dataclass(frozen=True)
class PendingGroup:
    """A group to train.

    Parameters
    ----------
    position
        Its place among the groups of the round.
    group
        Its members.
    on_trial
        Whether it is one member of a group that failed, trained alone to see which member fails.
    """

    position: int
    group: Group
    on_trial: bool = False


class ChunkQueue:
    """Groups of a round that no worker has yet.

    Chunk sizes follow factoring (Hummel, Schonberg and Flynn, Communications of the ACM 35(8), 1992): two thirds of the
    waiting groups are divided among all workers, then two thirds of the rest, and single groups at last. Most scenarios
    list clients that are alike next to each other, so groups are dealt to the chunks of one division in serpentine
    order.

    Parameters
    ----------
    groups
        In the order of the round.
    most_at_once
        Most groups in a chunk.
    """

    def __init__(self, groups: Iterable[Group], most_at_once: int) -> None:
        self._waiting = deque(PendingGroup(position, group) for position, group in enumerate(groups))
        self._chunks: defaultdict[str | None, deque[tuple[PendingGroup, ...]]] = defaultdict(deque)
        self._most_at_once = most_at_once

    def __len__(self) -> int:
        """Groups that wait, in a chunk or not."""
        return len(self._waiting) + sum(len(chunk) for chunks in self._chunks.values() for chunk in chunks)

    def take(self, resource: str | None, num_workers: int, most: int | None = None) -> tuple[PendingGroup, ...]:
        """Take the next chunk.

        Parameters
        ----------
        resource, num_workers
            The custom resource that the groups need, and the number of workers that have it.
        most
            Largest chunk to take; any size when None.

        Returns
        -------
        The chunk; empty where none is left, or where the next one is larger than ``most``.
        """
        chunks = self._chunks[resource]
        if not chunks:
            chunks += self._divide(resource, num_workers)
        if not chunks or (most is not None and len(chunks[0]) > most):
            return ()
        return chunks.popleft()

    def put_back(self, pending: Sequence[PendingGroup]) -> None:
        """Put groups before all others that wait; these are divided into chunks anew."""
        divided = [one for chunks in self._chunks.values() for chunk in chunks for one in chunk]
        self._chunks.clear()
        self._waiting.extendleft(reversed([*pending, *divided]))

    def limit_to_single_groups(self) -> None:
        """Make every chunk a single group from now on."""
        self._most_at_once = 1
        self.put_back([])

    def _divide(self, resource: str | None, num_workers: int) -> list[tuple[PendingGroup, ...]]:
        eligible = [pending for pending in self._waiting if pending.group.resource == resource]
        size = max(1, min(self._most_at_once, 2 * len(eligible) // (3 * num_workers)))
        taken = eligible[: size * num_workers]
        for pending in taken:
            self._waiting.remove(pending)
        chunks: list[list[PendingGroup]] = [[] for _ in range(num_workers)]
        for position, pending in enumerate(taken):
            row, column = divmod(position, num_workers)
            chunks[column if row % 2 == 0 else num_workers - 1 - column].append(pending)
        return [tuple(chunk) for chunk in chunks if chunk]
