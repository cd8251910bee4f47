"""What summaries and tables need of a ledger: sums by source and phase, and the replayed latency of every round."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from hybridsplit.runtime.replay import Replay
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import MOVING_PHASES, OCCASIONAL_PHASES, Phase, elapsed_s
from hybridsplit.scenarios.contracts.plan import Plan


class PhaseSum(NamedTuple):
    """Entries of one source and phase.

    Parameters
    ----------
    entries
        How many.
    seconds, waiting_s, bytes
        Their sums.
    """

    entries: int
    seconds: float
    waiting_s: float
    bytes: int


@dataclass(frozen=True)
class LedgerSums:
    """Sums of a ledger.

    Parameters
    ----------
    of
        By source and phase.
    latencies_s
        Replayed latency of every round: of the client that takes longest, its waits included.
    bytes_agree
        Whether all sources count the same bytes, by client, round and phase.
    rounds_of, late
        By client, the replayed rounds that it took part in, and those of them that went on without it.
    """

    of: Mapping[tuple[Source, Phase], PhaseSum]
    latencies_s: tuple[float, ...]
    bytes_agree: bool
    rounds_of: Mapping[str, int]
    late: Mapping[str, int]

    @classmethod
    def of_entries(cls, entries: Collection[LedgerEntry], left_out: Collection[tuple[str, int]] = ()) -> Self:
        """Sum up entries.

        Parameters
        ----------
        entries
            Of all sources.
        left_out
            As of :func:`bytes_agree`.
        """
        found: dict[tuple[Source, Phase], list[tuple[float, float, int]]] = {}
        for source, _, _, phase, seconds, waiting_s, size, *_ in entries:
            found.setdefault((source, phase), []).append((seconds, waiting_s, size))
        sums = {place: _summed(rows) for place, rows in found.items()}
        latencies_s = _replayed_latencies_s(entries)
        in_order_s = tuple(latencies_s[index] for index in sorted(latencies_s))
        replayed, barrier = Source.REPLAYED, Phase.BARRIER
        rounds_of = Counter(entry.client for entry in entries if entry.source is replayed and entry.phase is barrier)
        late = Counter(client for client, _ in late_of(entries))
        return cls(sums, in_order_s, bytes_agree(entries, left_out), rounds_of, late)

    @classmethod
    def of_replay(cls, plan: Plan, attendance: Attendance, replayed: Replay) -> Self:
        """Sum up what a plan and its replay would enter, without the entries: clients that do the same count as one.

        Parameters
        ----------
        plan, attendance, replayed
            The plan, who took part, and the replay, which has compared the bytes of every client and round with those
            of the plan, so that they agree.
        """
        rounds_of = Counter(name for present in attendance.rounds for name in present)
        caught_up = sum(sum(present.values()) for present in attendance.rounds)
        return cls(
            {**_of_plan(plan, rounds_of, caught_up), **_of_timeline(replayed)},
            tuple(_latencies_s(replayed)),
            bytes_agree=True,
            rounds_of=rounds_of,
            late=Counter(one.client for one in replayed.late),
        )


def late_of(entries: Iterable[LedgerEntry]) -> set[tuple[str, int]]:
    """Return the clients and rounds that came to nothing, at a deadline or for want of memory.

    Parameters
    ----------
    entries
        Of all sources.
    """
    return {(entry.client, entry.round) for entry in entries if entry.phase is Phase.ABANDONED}


def bytes_agree(entries: Collection[LedgerEntry], left_out: Collection[tuple[str, int]] = ()) -> bool:
    """Whether all sources count the same bytes, by client, round, phase and link.

    Parameters
    ----------
    entries
        Of all sources.
    left_out
        Clients and rounds in which their training did not count, so that nothing was measured: they are not compared,
        as are those who were late.
        Those who have left are in no source's later rounds.
    """
    passed_over = {*left_out, *late_of(entries)}
    sent: dict[Source, dict[tuple[str, int, Phase, str], int]] = {}
    # What a change of plan moves is in no plan.
    passed_by = (Phase.BARRIER, *MOVING_PHASES)
    for source, client, number, phase, _, _, size, _, node in entries:
        if phase in passed_by or (passed_over and (client, number) in passed_over):
            continue
        of_source = sent.get(source)
        if of_source is None:
            of_source = sent[source] = {}
        if size:
            place = client, number, phase, node
            of_source[place] = of_source.get(place, 0) + size
    first, *others = sent.values() or [{}]
    return all(other == first for other in others)


def _replayed_latencies_s(entries: Iterable[LedgerEntry]) -> dict[int, float]:
    spent_s: dict[int, dict[str, list[float]]] = {}
    replayed = Source.REPLAYED
    for source, client, number, phase, seconds, waiting_s, *_ in entries:
        if source is replayed:
            spent_s.setdefault(number, {}).setdefault(client, []).extend((elapsed_s(phase, seconds, 0.0), waiting_s))
    return {index: max(math.fsum(parts) for parts in clients.values()) for index, clients in spent_s.items()}


def _summed(rows: Collection[tuple[float, float, int]]) -> PhaseSum:
    seconds, waits_s, sizes = zip(*rows, strict=True)
    return PhaseSum(len(rows), math.fsum(seconds), math.fsum(waits_s), sum(sizes))


def _of_plan(plan: Plan, rounds_of: Mapping[str, int], caught_up: int) -> dict[tuple[Source, Phase], PhaseSum]:
    found: dict[Phase, list[tuple[int, float, float, int]]] = {phase: [] for phase in Phase}
    barrier = Phase.BARRIER
    for client in plan.clients:
        count, sizes, waits_s = rounds_of.get(client.id, 0), client.bytes_by_phase(), client.waiting_s
        if count == 0:
            continue
        for phase, seconds in client.phases_s.items():
            wait_s, size = waits_s.get(phase, 0.0), sizes.get(phase, 0)
            found[phase].append((count, seconds, wait_s, size))
        wait_s = waits_s.get(barrier, 0.0) + max(0.0, plan.round_latency_s - client.latency_s)
        found[barrier].append((count, 0.0, wait_s, 0))
    sums = {(Source.PLANNED, phase): _weighted(rows) for phase, rows in found.items() if rows}
    download = Source.PLANNED, Phase.MODEL_DOWNLOAD
    if caught_up > 0:
        sums[download] = sums[download]._replace(bytes=sums[download].bytes + caught_up)
    return sums


def _of_timeline(replayed: Replay) -> dict[tuple[Source, Phase], PhaseSum]:
    columns = [rounds[index] for rounds in replayed.timeline.totals for index in range(len(replayed.played))]
    counts = Counter(map(id, columns))
    distinct = dict(zip(map(id, columns), columns, strict=True))
    found: dict[Phase, list[tuple[int, float, float, int]]] = {}
    for key, totals in distinct.items():
        for phase, spent in totals.items():
            if phase not in OCCASIONAL_PHASES or spent.seconds != 0 or spent.waiting_s != 0:
                found.setdefault(phase, []).append((counts[key], spent.seconds, spent.waiting_s, spent.bytes))
    return {(Source.REPLAYED, phase): _weighted(rows) for phase, rows in found.items()}


def _latencies_s(replayed: Replay) -> Iterable[float]:
    for index in range(len(replayed.played)):
        distinct = {id(rounds[index]): rounds[index] for rounds in replayed.timeline.totals if rounds[index]}
        yield max(
            math.fsum(
                part
                for phase, spent in totals.items()
                for part in (elapsed_s(phase, spent.seconds, 0.0), spent.waiting_s)
            )
            for totals in distinct.values()
        )


def _weighted(rows: Collection[tuple[int, float, float, int]]) -> PhaseSum:
    counts, seconds, waits_s, sizes = zip(*rows, strict=True)
    return PhaseSum(
        sum(counts),
        math.fsum(map(operator.mul, counts, seconds)),
        math.fsum(map(operator.mul, counts, waits_s)),
        sum(map(operator.mul, counts, sizes)),
    )
