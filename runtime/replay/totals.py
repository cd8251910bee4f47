"""What clients spent in the rounds of a replay, by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hybridsplit.scenarios.contracts.ladder import StepMemory
from hybridsplit.scenarios.contracts.phases import ROUND_ORDER, Phase


@dataclass(slots=True)
class PhaseTotals:
    """What a client spent in one phase of one round: seconds served, seconds waited, bytes carried."""

    seconds: float = 0.0
    waiting_s: float = 0.0
    bytes: int = 0


RoundTotals = dict[Phase, PhaseTotals]


def no_totals() -> RoundTotals:
    """Return the totals of a round that has not begun."""
    return {phase: PhaseTotals() for phase in ROUND_ORDER}


_NOTHING = MappingProxyType(no_totals())


def totals_with(spent: Mapping[Phase, PhaseTotals]) -> RoundTotals:
    """Return the totals of a round in which a client has spent so much.

    All other phases share their zeros with all rounds: they are not to be changed.

    Parameters
    ----------
    spent
        By phase of its jobs, and of every round.
    """
    return {**_NOTHING, **spent}


def is_late(totals: RoundTotals) -> bool:
    """Say whether a client's round came to nothing at its deadline; a client that took no part is not late."""
    return bool(totals) and totals[Phase.ABANDONED].seconds > 0


@dataclass(frozen=True)
class Timeline:
    """Outcome of a replay.

    Parameters
    ----------
    totals
        ``totals[client][round]`` by phase, clients in the order of the work; empty where one took no part. Clients that
        do the same at the same times may share one value.
    round_ends_s
        Clock at the end of each round.
    memory
        ``memory[client][round]``: the order and budgets of every step, of clients with a ladder; empty where no client
        has one.
    """

    totals: tuple[tuple[RoundTotals, ...], ...]
    round_ends_s: tuple[float, ...]
    memory: tuple[tuple[tuple[StepMemory, ...], ...], ...] = ()
