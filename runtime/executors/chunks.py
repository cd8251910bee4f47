"""What workers are handed next: several groups at first, single ones towards the end of a round."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hybridsplit.runtime.worker.groups import Group


@dataclass(frozen=True)
class Work:
    """A group to train; on trial, to see which of another group's members fails."""

    position: int
    group: Group
    on_trial: bool = False


class Hands:
    """Groups of a round that nobody trains yet.

    They are dealt by factoring (Hummel, Schonberg and Flynn, Communications of the ACM 35(8), 1992): two thirds of
    those that wait to all workers at once, then two thirds of the rest, and single ones at last. Clients that are alike
    are neighbours in most scenarios, so that groups are dealt to and fro, one by one.

    Parameters
    ----------
    groups
        In the order of the round.
    most_at_once
        Most groups in a hand.
    """

    def __init__(self, groups: Iterable[Group], most_at_once: int) -> None:
        self._waiting = deque(Work(position, group) for position, group in enumerate(groups))
        self._dealt: defaultdict[str | None, deque[tuple[Work, ...]]] = defaultdict(deque)
        self._most_at_once = most_at_once

    def __len__(self) -> int:
        """Groups that wait, dealt or not."""
        return len(self._waiting) + sum(len(hand) for hands in self._dealt.values() for hand in hands)

    def take(self, resource: str | None, num_workers: int, most: int | None = None) -> tuple[Work, ...]:
        """Take the next hand.

        Parameters
        ----------
        resource, num_workers
            Whose groups, and the workers that share them.
        most
            Most groups in it; any number when None.

        Returns
        -------
        The hand; nothing where there is none, or it is larger.
        """
        dealt = self._dealt[resource]
        if not dealt:
            dealt += self._deal(resource, num_workers)
        if not dealt or (most is not None and len(dealt[0]) > most):
            return ()
        return dealt.popleft()

    def put_back(self, works: Sequence[Work]) -> None:
        """Put works before all others that wait, which are dealt anew."""
        dealt = [work for hands in self._dealt.values() for hand in hands for work in hand]
        self._dealt.clear()
        self._waiting.extendleft(reversed([*works, *dealt]))

    def singly(self) -> None:
        """Deal one at a time from now on."""
        self._most_at_once = 1
        self.put_back([])

    def _deal(self, resource: str | None, num_workers: int) -> list[tuple[Work, ...]]:
        mine = [work for work in self._waiting if work.group.resource == resource]
        size = max(1, min(self._most_at_once, 2 * len(mine) // (3 * num_workers)))
        taken = mine[: size * num_workers]
        for work in taken:
            self._waiting.remove(work)
        hands: list[list[Work]] = [[] for _ in range(num_workers)]
        for position, work in enumerate(taken):
            row, column = divmod(position, num_workers)
            hands[column if row % 2 == 0 else num_workers - 1 - column].append(work)
        return [tuple(hand) for hand in hands if hand]
