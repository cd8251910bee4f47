"""What a replay found: what clients spent, as entries of the ledger, and its rounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay.changing import PlanSequence
from hybridsplit.runtime.replay.totals import Timeline, is_late
from hybridsplit.scenarios.contracts.attendance import Absence
from hybridsplit.scenarios.contracts.ladder import StepMemory
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import OCCASIONAL_PHASES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PlayedRound:
    """One round of a replay.

    Parameters
    ----------
    round
        Counts from 0.
    latency_s, simulated_s
        How long it took, and the clock at its end.
    uplink_utilisation, downlink_utilisation, server_utilisation
        Share of the resource times seconds it served, over the round's latency.
    slowest_client
        The one that waited least at the barrier.
    barrier_wait_s
        Mean over clients.
    """

    round: int
    latency_s: float
    simulated_s: float
    uplink_utilisation: float
    downlink_utilisation: float
    server_utilisation: float
    slowest_client: str
    barrier_wait_s: float


@dataclass(frozen=True)
class Replay:
    """A plan played through the simulated network.

    Parameters
    ----------
    clients
        Their ids, in the order of the plan.
    timeline
        What each spent in every round.
    played
        The rounds in order.
    distinct_windows
        Rounds that the shortest recording holds without overlap, where rounds are windows of recordings; None
        elsewhere.
    followed
        The plans that its rounds went by, where they could change; None where one plan was played.
    """

    clients: tuple[str, ...]
    timeline: Timeline
    played: tuple[PlayedRound, ...]
    distinct_windows: int | None = None
    followed: PlanSequence | None = None

    @cached_property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """Entries of the ledger, source ``replayed``: every client, round and phase, those at zero included.

        Seconds and waiting of a client's round sum to the latency of that round.
        """
        replayed = Source.REPLAYED
        return tuple(
            LedgerEntry(replayed, client, index, phase, spent.seconds, spent.waiting_s, spent.bytes)
            for index in range(len(self.played))
            for client, rounds in zip(self.clients, self.timeline.totals, strict=True)
            for phase, spent in rounds[index].items()
            if phase not in OCCASIONAL_PHASES or spent.seconds != 0 or spent.waiting_s != 0
        )

    @cached_property
    def step_memory(self) -> dict[tuple[str, int], tuple[StepMemory, ...]]:
        """By client and round, the order and budgets of every step, of the clients that have a ladder."""
        return {
            (client, index): steps
            for client, rounds in zip(self.clients, self.timeline.memory, strict=False)
            for index, steps in enumerate(rounds)
            if steps
        }

    @cached_property
    def late(self) -> tuple[Absence, ...]:
        """Clients that left a round, at its deadline or for want of memory, in the order of rounds."""
        return tuple(
            Absence(client, index, for_good=False)
            for index in range(len(self.played))
            for client, rounds in zip(self.clients, self.timeline.totals, strict=True)
            if is_late(rounds[index])
        )

    @cached_property
    def ledger(self) -> Ledger:
        """The entries as a table."""
        return Ledger.from_entries(self.entries)

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """The rounds as a table, one row each."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.played])

    @property
    def round_latency_s(self) -> tuple[float, ...]:
        """Latency of each round, s."""
        return tuple(one.latency_s for one in self.played)

    @property
    def total_s(self) -> float:
        """Clock at the end of the last round, s."""
        return self.played[-1].simulated_s
