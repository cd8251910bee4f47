"""Final figures of a run: ``summary.json``, and the tables it is made from."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.recordings import latencies_line, spread
from hybridsplit.orchestrator.run_folder import ROUND_COLUMNS
from hybridsplit.runtime.replay import Replay
from hybridsplit.scenarios.contracts.ledger import LedgerEntry, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import Summary
from hybridsplit.scenarios.units import counted

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.runtime.run.records import RoundRecord


def summarise(
    plan: Plan,
    entries: Sequence[LedgerEntry],
    rounds: pd.DataFrame | None,
    control: pd.DataFrame | None,
    peak_bytes: dict[str, int],
    left_out: Collection[tuple[str, int]] = (),
    distinct_windows: int | None = None,
) -> Summary:
    """Return the final (not best) figures, planned beside replayed beside measured.

    Parameters
    ----------
    plan, entries
        The plan, and the entries of all sources.
    rounds, control
        One row a round, of the run and of the frozen control; None where there was none.
    peak_bytes
        Measured peaks by client.
    left_out
        Clients and rounds whose training did not count.
    distinct_windows
        Rounds that the shortest recording holds without overlap; None where links are constant.
    """
    latencies_s = _replayed_latencies_s(entries)
    num_rounds = max(latencies_s) + 1
    in_order_s = [latencies_s[index] for index in sorted(latencies_s)]
    simulated_s = math.fsum(in_order_s)
    accuracy = None if rounds is None or rounds.empty else float(rounds["test_accuracy"].iloc[-1])
    frozen = None if control is None else float(control["test_accuracy"].iloc[-1])
    notes = list(plan.notes)
    if accuracy is not None and frozen is not None:
        notes.append(
            f"Training the client parts brought {accuracy:.1%} test accuracy after {counted(num_rounds, 'round')}; "
            f"with all of them frozen the same rounds bring {frozen:.1%}."
        )
    latencies = None if distinct_windows is None else spread(in_order_s, distinct_windows, _seed_of(plan))
    if latencies is not None:
        line = latencies_line(latencies, num_rounds)
        notes.append(f"{line[0].upper()}{line[1:]}.")
    return Summary(
        scenario=plan.scenario["name"],
        scenario_hash=plan.scenario_hash,
        strategy=plan.strategy,
        status=str(plan.status),
        gap=plan.gap,
        num_rounds=num_rounds,
        round_latency_planned_s=plan.round_latency_s,
        round_latency_replayed_s=simulated_s / num_rounds,
        round_latencies=latencies,
        simulated_s=simulated_s,
        test_accuracy=accuracy,
        frozen_control_accuracy=frozen,
        bytes=bytes_by_source(entries),
        bytes_agree=bytes_agree(entries, left_out),
        peak_bytes=peak_bytes,
        within_budget=all(peak_bytes.get(c.id, 0) <= c.memory_budget_bytes for c in plan.clients),
        notes=tuple(notes),
    )


def _seed_of(plan: Plan) -> int:
    return int(plan.scenario.get("seed", 0))


def bytes_by_source(entries: Iterable[LedgerEntry]) -> dict[str, dict[str, int]]:
    """Total bytes by source and phase, zero phases left out."""
    totals: dict[tuple[str, str], int] = {}
    for entry in entries:
        if entry.bytes and entry.phase is not Phase.BARRIER:
            place = str(entry.source), str(entry.phase)
            totals[place] = totals.get(place, 0) + entry.bytes
    result: dict[str, dict[str, int]] = {}
    for (source, phase), size in sorted(totals.items()):
        result.setdefault(source, {})[phase] = size
    return result


def bytes_agree(entries: Iterable[LedgerEntry], left_out: Collection[tuple[str, int]] = ()) -> bool:
    """Whether all sources count the same bytes, by client, round and phase.

    Parameters
    ----------
    entries
        Of all sources.
    left_out
        Clients and rounds in which their training did not count, so that nothing was measured: they are not compared.
        Those who have left are in no source's later rounds.
    """
    passed_over = set(left_out)
    sent: dict[Source, dict[tuple[str, int, Phase], int]] = {}
    for entry in entries:
        if entry.phase is Phase.BARRIER or (entry.client, entry.round) in passed_over:
            continue
        of_source = sent.setdefault(entry.source, {})
        if entry.bytes:
            place = entry.client, entry.round, entry.phase
            of_source[place] = of_source.get(place, 0) + entry.bytes
    first, *others = sent.values() or [{}]
    return all(other == first for other in others)


def _replayed_latencies_s(entries: Iterable[LedgerEntry]) -> dict[int, float]:
    """Replayed latency of every round: of the client that takes longest, its waits included."""
    elapsed_s: dict[int, dict[str, list[float]]] = {}
    for entry in entries:
        if entry.source is Source.REPLAYED:
            parts = elapsed_s.setdefault(entry.round, {}).setdefault(entry.client, [])
            parts += (entry.seconds, entry.waiting_s)
    return {index: max(math.fsum(parts) for parts in clients.values()) for index, clients in elapsed_s.items()}


def round_ends_s(replayed: Replay) -> list[float]:
    """Return the replay's clock at the end of every round."""
    ends: list[float] = []
    clock_s = 0.0
    for latency_s in replayed.round_latency_s:
        clock_s += latency_s
        ends.append(clock_s)
    return ends


def rounds_table(records: Iterable[RoundRecord]) -> pd.DataFrame:
    """Return metrics, one row a round."""
    import pandas as pd

    return pd.DataFrame([asdict(record) for record in records], columns=list(ROUND_COLUMNS))
