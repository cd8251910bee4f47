"""What clients spent in the rounds of a replay, by phase."""

from __future__ import annotations

from collections.abc import Iterable
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
_OF_EVERY_ROUND = (Phase.MODEL_DOWNLOAD, Phase.PROPAGATION, Phase.BARRIER)
"""A client may join late, what it sends may be on its way for some time, and it may wait for the others."""


def no_totals() -> RoundTotals:
    """Return the totals of a round that has not begun."""
    return {phase: PhaseTotals() for phase in ROUND_ORDER}


_NOTHING = MappingProxyType(no_totals())


def totals_of(phases: Iterable[Phase]) -> RoundTotals:
    """Return the totals of a round that has not begun, whose client has jobs in some phases.

    The phases of all other jobs share their zeros with all rounds: they are not to be changed.

    Parameters
    ----------
    phases
        Those of the client's jobs.
    """
    found = dict(_NOTHING)
    for phase in (*phases, *_OF_EVERY_ROUND):
        found[phase] = PhaseTotals()
    return found


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
