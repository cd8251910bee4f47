"""The truth table: planned, replayed and measured figures side by side, by phase."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table, difference
from hybridsplit.orchestrator.report.data import Bunch, ReportData, bunches
from hybridsplit.orchestrator.report.palette import PHASE_LABELS
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import OCCASIONAL_PHASES, ROUND_ORDER, Phase
from hybridsplit.scenarios.units import format_bytes, format_seconds

_TINY = 5e-4
"""Relative differences below this would print as 0.0 %."""
_COLUMNS = (
    Column("Phase"),
    Column("Planned", is_number=True, group="Seconds a round"),
    Column("Replayed", is_number=True, group="Seconds a round"),
    Column("Measured", is_number=True, group="Seconds a round"),
    Column("Planned", is_number=True, group="Bytes a round"),
    Column("Replayed", is_number=True, group="Bytes a round"),
    Column("Measured", is_number=True, group="Bytes a round"),
)


@dataclass(frozen=True)
class Figures:
    """Per-round figures of one source and phase.

    Parameters
    ----------
    elapsed_s, waiting_s
        Mean over clients; the elapsed time contains the waiting.
    total_bytes
        Sum over clients.
    is_emulated
        Whether any of the seconds were taken on the emulating machine.
    """

    elapsed_s: float
    waiting_s: float
    total_bytes: float
    is_emulated: bool


def truth_tables(data: ReportData) -> tuple[Table, tuple[tuple[str, Table], ...]]:
    """Return the truth table over all clients, and one for every client (or group, when they are many).

    Parameters
    ----------
    data
        The report's data.
    """
    ledger = data.ledger.table
    num_rounds = {str(source): max(1, data.ledger.of(source)["round"].nunique()) for source in Source}
    everybody = Bunch("all clients", data.plan.clients)
    rows = bunches(data.plan)
    row_of_client = {client_id: index for index, row in enumerate(rows) for client_id in row.ids}
    # Ledgers of a thousand clients have millions of rows: they are summed once, not once a table.
    sums = (
        ledger.assign(row=ledger["client"].map(row_of_client))
        .groupby(["row", "source", "phase"], sort=False)[["seconds", "waiting_s", "bytes", "emulated"]]
        .sum()
        .reset_index()
    )
    details = tuple((row.label, _table(sums[sums["row"] == index], row, num_rounds)) for index, row in enumerate(rows))
    return _table(sums, everybody, num_rounds), details


def _table(sums: pd.DataFrame, bunch: Bunch, num_rounds: dict[str, int]) -> Table:
    figures = {
        (str(source), str(phase)): _figures(group, len(bunch.clients), num_rounds[str(source)])
        for (source, phase), group in sums.groupby(["source", "phase"], sort=False)
    }
    rows = []
    for phase in ROUND_ORDER:
        by_source = {source: figures.get((str(source), str(phase))) for source in Source}
        if phase in OCCASIONAL_PHASES and not any(by_source.values()):
            continue  # no link delays
        rows.append((Cell(PHASE_LABELS[phase], mark=f"phase-{phase}"), *_cells(by_source, phase)))
    totals = {source: _total({p: value for (name, p), value in figures.items() if name == source}) for source in Source}
    rows.append((Cell("Round"), *_cells(totals, None)))
    return Table(_COLUMNS, tuple(rows), has_total=True)


def _figures(group: pd.DataFrame, num_clients: int, num_rounds: int) -> Figures:
    entries = num_clients * num_rounds
    return Figures(
        elapsed_s=float(group["seconds"].sum() + group["waiting_s"].sum()) / entries,
        waiting_s=float(group["waiting_s"].sum()) / entries,
        total_bytes=float(group["bytes"].sum()) / num_rounds,
        is_emulated=bool(group["emulated"].any()),
    )


def _total(figures: dict[str, Figures]) -> Figures | None:
    """Sum up phases; what was overlapped is in the others, and counts off."""
    if not figures:
        return None
    items = figures.values()
    return Figures(
        elapsed_s=math.fsum(
            -one.elapsed_s if p == str(Phase.OVERLAPPED) else one.elapsed_s for p, one in figures.items()
        ),
        waiting_s=math.fsum(item.waiting_s for item in items),
        total_bytes=math.fsum(item.total_bytes for item in items),
        is_emulated=any(item.is_emulated for item in items),
    )


def _cells(by_source: dict[Source, Figures | None], phase: Phase | None) -> list[Cell]:
    planned = by_source[Source.PLANNED]
    seconds = [_seconds(by_source[source], planned, source, phase) for source in Source]
    sizes = [_size(by_source[source], planned, source) for source in Source]
    return seconds + sizes


def _seconds(figures: Figures | None, planned: Figures | None, source: Source, phase: Phase | None) -> Cell:
    if figures is None:
        return NOTHING
    notes = []
    # Seconds of the emulating machine say nothing about the device, so a difference from the plan would mislead.
    if source is not Source.PLANNED and planned is not None and not figures.is_emulated:
        notes.append(difference(figures.elapsed_s, planned.elapsed_s))
    if phase not in (Phase.BARRIER, None) and figures.waiting_s > 0:
        notes.append(f"{format_seconds(figures.waiting_s)} of it waiting")
    return Cell(
        format_seconds(figures.elapsed_s),
        value=figures.elapsed_s,
        note=" · ".join(note for note in notes if note),
        tag="emulated" if figures.is_emulated else "",
    )


def _size(figures: Figures | None, planned: Figures | None, source: Source) -> Cell:
    if figures is None:
        return NOTHING
    note = ""
    if source is not Source.PLANNED and planned is not None:
        more_bytes = figures.total_bytes - planned.total_bytes
        # Bytes are counted, not timed: one too many is a finding, however small a part of the whole it is.
        is_tiny = 0 < abs(more_bytes) < _TINY * planned.total_bytes
        sign = "+" if more_bytes > 0 else "−"
        note = f"{sign}{abs(more_bytes):,.3g} B" if is_tiny else difference(figures.total_bytes, planned.total_bytes)
    return Cell(format_bytes(figures.total_bytes), value=figures.total_bytes, note=note)
