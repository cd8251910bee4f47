"""Recorded memory in files: a JSON list, two columns, or columns that a header names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridsplit.runtime.replay.formats.column_names import Quantity, column_of
from hybridsplit.runtime.replay.formats.samples import COMMENT, NUMBER, in_order, lasting, shown
from hybridsplit.runtime.replay.formats.time_stamps import seconds_of
from hybridsplit.runtime.replay.memory_trace import MemoryTrace
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.memory import memory_over_time
from hybridsplit.scenarios.units import MIB, format_bytes

MEMORY_FORMATS = (
    "needs a JSON list of objects with duration_s and budget_bytes, lines of 'seconds<TAB>MiB', or a CSV whose header "
    "names columns with their units (time_s,available_mib)"
)
_UNITS_BYTES = {
    **dict.fromkeys(("b", "byte", "bytes"), 1), **dict.fromkeys(("kib", "kb"), 1024), "mib": MIB, "gib": 1024 * MIB,
}  # fmt: skip
"""``/proc/meminfo`` writes kB for KiB; MB and GB are in doubt, and not read."""
_LARGEST_FILE_BYTES = 64 * MIB
_MOST_MIB = 1024 * 1024
"""Two bare columns with more than a TiB are in another unit."""


def load_memory(path: Path) -> MemoryTrace:
    """Read recorded memory.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ScenarioError
        If it is missing, in no format, or leaves its meaning in doubt; the message names file and line.
    """
    try:
        if path.is_file() and (size_bytes := path.stat().st_size) > _LARGEST_FILE_BYTES:
            raise ScenarioError(
                f"{path}: found {format_bytes(size_bytes)}; needs a recording of at most "
                f"{format_bytes(_LARGEST_FILE_BYTES)}: cut it into several files"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as text ({error}); {MEMORY_FORMATS}") from error
    return read_memory(text, str(path))


def read_memory(text: str, name: str) -> MemoryTrace:
    """Read recorded memory from text.

    Parameters
    ----------
    text
        Content of a file.
    name
        Where it comes from, for messages.

    Raises
    ------
    ScenarioError
        As of :func:`load_memory`.
    """
    if text.lstrip()[:1] in ("[", "{"):
        return _from_json(text, name)
    numbered = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in numbered if line and not line.startswith(COMMENT)]
    if not lines:
        raise ScenarioError(f"{name}: the file is empty; {MEMORY_FORMATS}")
    if lines[0][1][:1].isalpha():
        return _from_columns(lines, name)
    return _from_lines(lines, name)


def _from_json(text: str, name: str) -> MemoryTrace:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{name}: begins like JSON but is not ({error}); {MEMORY_FORMATS}") from error
    if not isinstance(document, list) or not document:
        raise ScenarioError(f"{name}: found JSON that is no list of samples; {MEMORY_FORMATS}")
    durations_s, sizes = [], []
    for index, sample in enumerate(document, start=1):
        durations_s.append(_number_of(sample, "duration_s", f"{name}: item {index}"))
        size = _number_of(sample, "budget_bytes", f"{name}: item {index}")
        sizes.append(int(size) if math.isfinite(size) else -1)
    return MemoryTrace(tuple(durations_s), tuple(sizes), name)


def _number_of(sample: Any, key: str, where: str) -> float:
    value = sample.get(key) if isinstance(sample, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScenarioError(f"{where}: found {key} = {shown(repr(value))}; needs a number. The file {MEMORY_FORMATS}")
    return float(value)


def _from_lines(lines: Sequence[tuple[int, str]], name: str) -> MemoryTrace:
    stamps, amounts, places = [], [], []
    for number, line in lines:
        cells = line.split()
        if len(cells) != 2 or not all(NUMBER.fullmatch(cell) for cell in cells):
            raise ScenarioError(f"{name}, line {number}: found {shown(line)!r}; {MEMORY_FORMATS}")
        if not float(cells[1]) <= _MOST_MIB:
            raise ScenarioError(
                f"{name}, line {number}: found {cells[1]} in the column of MiB, which would be more than a TiB; needs "
                "MiB, or a header that names the unit, as 'time_s,available_bytes'"
            )
        stamps.append(cells[0])
        amounts.append(float(cells[1]))
        places.append(f"line {number}")
    return _sampled(seconds_of(stamps, places, name, 1.0), amounts, MIB, places, name)


def _from_columns(lines: Sequence[tuple[int, str]], name: str) -> MemoryTrace:
    delimiter = next((one for one in ("\t", ";", ",") if one in lines[0][1]), ",")
    header = [cell.strip().strip('"') for cell in lines[0][1].split(delimiter)]
    times = [column for column in map(column_of, range(len(header)), header) if column.quantity is Quantity.TIME]
    memories = [(index, unit) for index, cell in enumerate(header) if (unit := _unit_bytes(cell)) is not None]
    if len(times) != 1 or len(memories) != 1:
        raise ScenarioError(
            f"{name}, line {lines[0][0]}: found the columns {', '.join(map(repr, header))}, with {len(times)} of time "
            f"and {len(memories)} of memory; needs one of each, as 'time_s,available_mib' (units: bytes, kib, mib, gib)"
        )
    stamps, amounts, places = [], [], []
    for number, line in lines[1:]:
        cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
        if len(cells) != len(header) or not NUMBER.fullmatch(cells[memories[0][0]]):
            raise ScenarioError(
                f"{name}, line {number}: found {shown(line)!r}; needs {len(header)} columns with a number in "
                f"{header[memories[0][0]]!r}"
            )
        stamps.append(cells[times[0].index])
        amounts.append(float(cells[memories[0][0]]))
        places.append(f"line {number}")
    stamps_s = seconds_of(stamps, places, name, times[0].unit)
    return _sampled(stamps_s, amounts, memories[0][1], places, name)


def _unit_bytes(column: str) -> int | None:
    """Return the bytes of the unit at the end of a column's name; None where it is none of memory."""
    words = [word for word in re.split(r"[^a-z]+", column.lower()) if word]
    return _UNITS_BYTES.get(words[-1]) if len(words) > 1 else None


def _sampled(stamps_s: Any, amounts: Sequence[float], unit: int, places: Sequence[str], name: str) -> MemoryTrace:
    """Return stamped amounts as a trace: each holds until the next one's time."""
    order, _ = in_order(stamps_s, places, name)
    placed = [places[index] for index in order]
    durations_s = lasting(np.asarray(stamps_s)[order], placed, name)
    sizes = []
    for index, place in zip(order, placed, strict=True):
        if not 0 <= amounts[index] * unit < 2**63:
            raise ScenarioError(f"{name}, {place}: found {amounts[index]:g}; needs an amount of memory")
        sizes.append(int(amounts[index] * unit))
    return MemoryTrace(tuple(durations_s.tolist()), tuple(sizes), name)


def scenario_memory(scenario: Scenario) -> dict[str, MemoryTrace]:
    """Read the recordings of memory that a scenario names.

    Parameters
    ----------
    scenario
        The scenario, with ``memory_trace`` in some groups.

    Returns
    -------
    dict[str, MemoryTrace]
        By client, capped at its ``memory_budget_bytes``; clients without a recording are not in it.

    Raises
    ------
    ScenarioError
        If a file is missing, or is no recording of memory.
    """
    of_group: dict[str, MemoryTrace] = {}
    for index, group in enumerate(scenario.clients):
        if group.memory_trace is None:
            continue
        wanted = memory_over_time(group.memory_trace)
        try:
            read = load_memory(Path(wanted.path))
        except ScenarioError as error:
            raise ScenarioError(f"clients.{index}.memory_trace: {error}") from error
        of_group[group.group] = replace(read, past_the_end=wanted.past_the_end).capped(group.memory_budget_bytes)
    return {client.id: of_group[client.group] for client in scenario.expanded_clients() if client.group in of_group}
