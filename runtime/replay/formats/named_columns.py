"""Columns with a header that names quantities and units, split at commas, semicolons or tabs.

As drive logs of 4G and 5G have it (``Timestamp,DL_bitrate,UL_bitrate,CQI,PINGAVG``), or with units in the names
(``time_ms,downlink_mbps``, ``elapsed (s);throughput [kbit/s]``). Columns that say nothing of the link are not read.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridsplit.runtime.replay.formats.channel_indices import TABLES, efficiency_of
from hybridsplit.runtime.replay.formats.column_names import Column, Quantity, column_of
from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.formats.samples import COMMENT, FORMATS, NUMBER, checked, held, in_order, lasting, shown
from hybridsplit.runtime.replay.formats.time_stamps import seconds_of
from hybridsplit.runtime.replay.traces import FloatArray
from hybridsplit.scenarios.errors import ScenarioError

_NOT_MEASURED = {"", "-", "--", "na", "n/a", "nan", "null", "none"}
_DELIMITERS = ("\t", ";", ",")


@dataclass(frozen=True)
class _Table:
    """Cells of the columns that are read, with the number of each line."""

    name: str
    columns: tuple[Column, ...]
    kept: dict[int, list[str]]
    lines: list[int]

    def of(self, quantity: Quantity) -> list[Column]:
        return [column for column in self.columns if column.quantity is quantity]

    def cells(self, column: Column) -> list[str]:
        return self.kept[column.index]

    def numbers(self, column: Column) -> list[float]:
        found = []
        for cell, line in zip(self.cells(column), self.lines, strict=True):
            if not NUMBER.fullmatch(cell):
                why = "; a decimal comma is not read, write a point" if "," in cell else ""
                raise ScenarioError(
                    f"{self.name}, line {line}: found {column.name} = {shown(cell)!r}; needs a number, 0 for an outage "
                    f"(cut out what was not measured){why}"
                )
            found.append(float(cell))
        return found


def has_header(line: str) -> bool:
    """Whether a line is a header: columns that begin like words."""
    cells = _cells(line, _delimiter(line))
    return len(cells) > 1 and all(not NUMBER.fullmatch(cell.strip()) for cell in cells) and cells[0][:1].isalpha()


def from_columns(lines: Sequence[tuple[int, str]], name: str, index_table: str | None = None) -> Recording:
    """Read columns with a header.

    Parameters
    ----------
    lines
        Number and content of each line that is not blank.
    name
        Where they come from, for messages.
    index_table
        Table of the recorded indices, one of :data:`TABLES`: they are read instead of rates. Where None, rates are
        read, and indices only where there are none and their column names the table.

    Raises
    ------
    ScenarioError
        If a column that is needed is absent, which one to read is in doubt, or a line or sample is wrong.
    """
    table = _table(lines, name)
    durations_s, order, note = _times(table)
    places = [f"line {table.lines[index]}" for index in order]
    latency_s = _latency(table)
    chosen, efficiency_table = _chosen(table, index_table)
    series = {}
    for column in chosen:
        figures = table.numbers(column)
        if efficiency_table is None:
            rates = np.array(figures) * (column.unit or 0.0)
        else:
            where = [f"{name}, line {line}" for line in table.lines]
            rates = np.array([efficiency_of(f, efficiency_table, w) for f, w in zip(figures, where, strict=True)])
        series[column.direction] = checked(
            durations_s,
            rates[order],
            places,
            name,
            None if latency_s is None else latency_s[order],
            is_per_hertz=efficiency_table is not None,
        )
    unread = [column.name for column in table.columns if column.quantity is Quantity.UNREAD and "atency" in column.name]
    notes = [note] if note else []
    notes += [f"the column {column} names no unit and is not read" for column in unread]
    return Recording(name, series.get("both"), series.get("up"), series.get("down"), tuple(notes))


def _delimiter(line: str) -> str | None:
    return next((mark for mark in _DELIMITERS if mark in line), None)


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter)


def _table(lines: Sequence[tuple[int, str]], name: str) -> _Table:
    kept = [(number, line) for number, line in lines if not line.startswith(COMMENT)]
    delimiter = _delimiter(kept[0][1])
    header = _cells(kept[0][1], delimiter)
    columns = tuple(column_of(index, cell) for index, cell in enumerate(header))
    read: dict[int, list[str]] = {one.index: [] for one in columns if one.quantity is not Quantity.UNREAD}
    numbers = []
    for number, line in kept[1:]:
        cells = _cells(line, delimiter)
        if len(cells) != len(header):
            raise ScenarioError(
                f"{name}, line {number}: found {len(cells)} columns; needs {len(header)}, as the header has: the line "
                "is cut off, or a value holds the character that splits columns"
            )
        for index, column in read.items():
            column.append(cells[index].strip())
        numbers.append(number)
    return _Table(name, columns, read, numbers)


def _times(table: _Table) -> tuple[FloatArray, Sequence[int], str]:
    """Return the length of each sample in their order, that order, and a note on it."""
    places = [f"line {line}" for line in table.lines]
    times, lengths = table.of(Quantity.TIME), table.of(Quantity.DURATION)
    if not times and len(lengths) == 1:
        return np.array(table.numbers(lengths[0])) * (lengths[0].unit or 0.0), range(len(places)), ""
    by_name = {column.name.lower(): column for column in times}
    if set(by_name) == {"date", "time"}:
        dates, clocks = table.cells(by_name["date"]), table.cells(by_name["time"])
        texts = [f"{date} {clock}" for date, clock in zip(dates, clocks, strict=True)]
        unit_s: float | None = None
    else:
        column = _one(times, "a column of times", table)
        texts, unit_s = table.cells(column), column.unit
    stamps_s = seconds_of(texts, places, table.name, unit_s)
    order, note = in_order(stamps_s, places, table.name)
    return lasting(stamps_s[order], [places[index] for index in order], table.name), order.tolist(), note


def _one(columns: Sequence[Column], what: str, table: _Table) -> Column:
    if len(columns) == 1:
        return columns[0]
    names = ", ".join(shown(column.name) for column in (columns or table.columns))
    found = f"found {'several, ' if columns else 'the columns '}{names}"
    raise ScenarioError(
        f"{table.name}: needs {what} and one only; {found}: name it with its unit, as time_s, time_ms or Timestamp for "
        "times and dl_mbps, ul_kbps or DL_bitrate for rates, and remove what it may be confused with. The file "
        f"{FORMATS}"
    )


def _latency(table: _Table) -> FloatArray | None:
    columns = table.of(Quantity.LATENCY)
    if not columns:
        return None
    column = _one(columns, "a column of latencies", table)
    found = []
    for cell, line in zip(table.cells(column), table.lines, strict=True):
        measured = cell.lower() not in _NOT_MEASURED
        if measured and not (NUMBER.fullmatch(cell) and 0 <= float(cell) < 1e9):
            raise ScenarioError(
                f"{table.name}, line {line}: found {column.name} = {shown(cell)!r}; needs a number that is not "
                "negative, or '-' where nothing was measured"
            )
        found.append(float(cell) * (column.unit or 0.0) if measured else float("nan"))
    return held(found)


def _chosen(table: _Table, index_table: str | None) -> tuple[list[Column], str | None]:
    """Return the columns to read, one a direction, and the table of their indices; None where they are rates."""
    rates = table.of(Quantity.RATE)
    indices = [*table.of(Quantity.CQI), *table.of(Quantity.MCS)]
    if index_table is None and (rates or not indices):
        without = [column for column in rates if column.unit is None]
        if without and len(without) == len(rates):
            raise ScenarioError(
                f"{table.name}: the column {shown(without[0].name)} names no unit in bits; needs one, as dl_mbps, "
                "throughput_kbps or rate (bit/s)"
            )
        return _a_direction_each([column for column in rates if column.unit is not None], table), None
    kind = None if index_table is None else index_table.split("-")[0]
    wanted = [column for column in indices if kind is None or column.quantity == kind]
    columns = _a_direction_each(wanted, table)
    stated = {f"{column.quantity}-{column.table}" for column in columns if column.table is not None}
    if index_table is not None:
        stated = {index_table}
    if len(stated) != 1 or not stated <= set(TABLES):
        raise ScenarioError(
            f"{table.name}: records indices ({', '.join(column.name for column in columns)}), which mean nothing "
            f"without their table; needs index_table: {' | '.join(TABLES)} beside the path of the link's trace, or the "
            "table in the column's name, as cqi_table1"
        )
    return columns, stated.pop()


def _a_direction_each(columns: Sequence[Column], table: _Table) -> list[Column]:
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(column.direction, []).append(column)
    for same in found.values():
        _one(same, "a column of rates for each direction", table)
    if not found or ("both" in found and len(found) > 1):
        _one(columns, "a column of rates", table)
    return list(columns)
