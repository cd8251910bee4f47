"""When each client does what in a round.

The ledger has the seconds of every phase summed over the steps of a round. They are laid out in the order in which a
round goes, every step alike. So sums, ends and the barrier are exact, and single steps are where links are constant;
over links that change, a step may in truth be longer than the next. Of a client whose steps overlap, every phase of a
step is drawn shorter, so that all of them together last as long as the steps did.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hybridsplit.scenarios.contracts.jobs import BEFORE_EXCHANGE
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import MOVING_PHASES, ROUND_ORDER, Phase

_EVERY_STEP = tuple(
    phase
    for phase in ROUND_ORDER
    if phase
    not in (
        *MOVING_PHASES,
        Phase.MODEL_DOWNLOAD,
        Phase.CLIENT_COMPUTE,
        Phase.MEMORY,
        Phase.MODEL_UPLOAD,
        Phase.OVERLAPPED,
        Phase.ABANDONED,
        Phase.BARRIER,
    )
)
"""What follows the forward passes of a step, in order."""


class Interval(NamedTuple):
    """What a client does between two times of a round.

    Parameters
    ----------
    client, phase
        Who, and what.
    step
        Step of the round, from 0.
    is_waiting
        Whether the client waits for it: for its turn, for a link at rate zero, or for others at the barrier.
    start_s, end_s
        From the round's start.
    """

    client: str
    phase: Phase
    step: int
    is_waiting: bool
    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Length, s."""
        return self.end_s - self.start_s


def intervals_of_round(
    entries: Iterable[LedgerEntry], round_index: int, local_steps: int, *, synchronise: bool = False
) -> list[Interval]:
    """Return what every client does in a round, clients in the order of the ledger.

    Parameters
    ----------
    entries
        Of a ledger; those that were replayed count.
    round_index
        The round, from 0.
    local_steps
        Steps of a round.
    synchronise
        Whether clients also wait for each other between steps.
    """
    spent: dict[str, dict[Phase, LedgerEntry]] = {}
    for entry in entries:
        if entry.source is Source.REPLAYED and entry.round == round_index:
            spent.setdefault(entry.client, {})[entry.phase] = entry
    return [
        interval
        for client, phases in spent.items()
        for interval in _of_client(client, phases, local_steps, synchronise=synchronise)
    ]


def _of_client(
    client: str, phases: Mapping[Phase, LedgerEntry], steps: int, *, synchronise: bool
) -> Iterator[Interval]:
    clock_s, factor = 0.0, _part_of_time(phases)
    for phase, step, share in _order(steps, synchronise=synchronise):
        if (entry := phases.get(phase)) is None:
            continue
        if phase in _OF_STEPS:
            share *= factor
        for is_waiting, seconds in ((True, entry.waiting_s * share), (False, entry.seconds * share)):
            if seconds > 0:
                yield Interval(client, phase, step, is_waiting, clock_s, clock_s + seconds)
                clock_s += seconds


_OF_STEPS = (Phase.MEMORY, Phase.CLIENT_COMPUTE, *_EVERY_STEP)


def _part_of_time(phases: Mapping[Phase, LedgerEntry]) -> float:
    """Return what each phase of a step is drawn as a part of: less than 1 where steps overlap, by all of them alike."""
    overlapped = phases.get(Phase.OVERLAPPED)
    if overlapped is None or overlapped.seconds == 0:
        return 1.0
    total_s = math.fsum(one.seconds + one.waiting_s for phase, one in phases.items() if phase in _OF_STEPS)
    return max(0.0, 1.0 - overlapped.seconds / total_s)


def _order(steps: int, *, synchronise: bool) -> Iterator[tuple[Phase, int, float]]:
    """Yield the parts of a round in order: phase, step, and the part of the phase's seconds."""
    each = 1 / steps
    for phase in (*MOVING_PHASES, Phase.MODEL_DOWNLOAD):
        yield phase, 0, 1.0
    for step in range(steps):
        yield Phase.MEMORY, step, each
        yield Phase.CLIENT_COMPUTE, step, each * BEFORE_EXCHANGE
        for phase in _EVERY_STEP:
            yield phase, step, each
        yield Phase.CLIENT_COMPUTE, step, each * (1 - BEFORE_EXCHANGE)
        if synchronise and step < steps - 1:
            yield Phase.BARRIER, step, each
    yield Phase.MODEL_UPLOAD, steps - 1, 1.0
    yield Phase.ABANDONED, steps - 1, 1.0
    yield Phase.BARRIER, steps - 1, each if synchronise else 1.0
