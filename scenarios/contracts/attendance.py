"""Who takes part in the rounds of a run: one value, for plan, replay and run alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self


@dataclass(frozen=True)
class Absence:
    """A client whose training did not count in a round it took part in.

    Parameters
    ----------
    client, round
        Who, and when (rounds count from 0).
    for_good
        Whether it takes part in no later round either.
    """

    client: str
    round: int
    for_good: bool


@dataclass(frozen=True)
class Attendance:
    """Who takes part in each round, and what each has to catch up with.

    Parameters
    ----------
    rounds
        For every round, by client, the bytes it downloads beyond the plan's, for the rounds it has missed. A client
        that takes no part is not named.
    """

    rounds: tuple[Mapping[str, int], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", tuple(MappingProxyType(dict(one)) for one in self.rounds))

    @classmethod
    def of_everybody(cls, clients: Iterable[str], num_rounds: int) -> Self:
        """Return the attendance of clients that take part in every round and miss nothing."""
        return cls((dict.fromkeys(clients, 0),) * num_rounds)

    @property
    def num_rounds(self) -> int:
        """Number of rounds."""
        return len(self.rounds)
