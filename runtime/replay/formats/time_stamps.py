"""Times of samples: seconds in a stated unit, epochs told by their size, and dates with the year first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from hybridsplit.runtime.replay.formats.samples import NUMBER, shown
from hybridsplit.runtime.replay.traces import FloatArray
from hybridsplit.scenarios.errors import ScenarioError

EARLIEST_EPOCH_S, LATEST_EPOCH_S = 1e9, 4e9
"""From 2001 to 2096: within them seconds, milli-, micro- and nanoseconds since 1970 cannot be taken for each other."""
_EPOCH_UNITS_S = (1.0, 1e-3, 1e-6, 1e-9)
_DATE = re.compile(
    r"(\d{4})([-./])(\d{1,2})\2(\d{1,2})[T _]+(\d{1,2})([:.])(\d{2})\6(\d{2})(?:[.,](\d{1,9}))?\s*"
    r"(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII | re.IGNORECASE,
)
_OTHER_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*", re.ASCII | re.DOTALL)


def is_date(text: str) -> bool:
    """Whether a text is a date and a time of day, in whatever order."""
    return _OTHER_DATE.fullmatch(text.strip()) is not None


def seconds_of(texts: Sequence[str], places: Sequence[str], name: str, unit_s: float | None = None) -> FloatArray:
    """Return times in seconds, counted from the first one if they are dates or epochs.

    Parameters
    ----------
    texts
        [S] what the file has.
    places, name
        Where each stands, and the file, for messages.
    unit_s
        Unit of numbers, s; None where the file states none: then they must be epochs.

    Raises
    ------
    ScenarioError
        If one is no time, or what it means is in doubt.
    """
    if not texts:
        return np.zeros(0)
    if is_date(texts[0]):
        zones: set[bool] = set()
        dates = [_date(text, f"{name}, {place}", zones) for text, place in zip(texts, places, strict=True)]
        first = dates[0][0]
        return np.array([(whole - first).total_seconds() + part_s for whole, part_s in dates])
    values = np.array([_number(text, f"{name}, {place}") for text, place in zip(texts, places, strict=True)])
    if unit_s is None:
        unit_s = _epoch_unit_s(values, places, name)
    if values[0] * unit_s < EARLIEST_EPOCH_S or not np.isfinite(values).all():
        return np.asarray(values * unit_s, dtype=np.float64)
    return np.asarray((values - values[0]) * unit_s)  # an epoch in float seconds would lose its microseconds


def epoch_unit_s(value: float) -> float | None:
    """Return the unit in which a number counts from 1970 to a time from 2001 to 2096, s; None where there is none."""
    for unit_s in _EPOCH_UNITS_S:
        if EARLIEST_EPOCH_S <= value * unit_s < LATEST_EPOCH_S:
            return unit_s
    return None


def _epoch_unit_s(values: FloatArray, places: Sequence[str], name: str) -> float:
    units = [epoch_unit_s(float(value)) for value in values]
    first = units[0]
    if first is None:
        raise ScenarioError(
            f"{name}, {places[0]}: found the time {values[0]:.15g}, whose unit the column's name does not state; needs "
            "one: call the column time_s or time_ms (dates, and numbers that count from 1970, need none)"
        )
    if set(units) != {first}:
        index = next(index for index, unit in enumerate(units) if unit != first)
        raise ScenarioError(
            f"{name}, {places[index]}: found the time {values[index]:.15g} after {values[0]:.15g}; needs times of one "
            "kind: the line is damaged, or another recording begins there"
        )
    return first


def _number(text: str, where: str) -> float:
    if not NUMBER.fullmatch(text.strip()):
        raise ScenarioError(
            f"{where}: found the time {shown(text)!r}; needs a number, or a date as 2019-11-28T07:27:58 or "
            "2019.11.28_07.27.58"
        )
    return float(text)


def _date(text: str, where: str, zones: set[bool]) -> tuple[datetime, float]:
    """Return a date to the whole second, and its part of a second; ``zones`` notes whether dates have a time zone."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        raise ScenarioError(
            f"{where}: found the time {shown(text)!r}; needs a date with the year first and seconds, as "
            "2019-11-28T07:27:58 or 2019.11.28_07.27.58, since the order of day and month is in doubt otherwise"
        )
    year, _, month, day, hour, _, minute, second, part, zone = found.groups()
    zones.add(zone is not None)
    if len(zones) > 1:
        raise ScenarioError(f"{where}: found the time {shown(text)!r}; needs a time zone in all lines or in none")
    try:
        whole = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=_zone(zone)
        ).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ScenarioError(f"{where}: found the time {shown(text)!r}; there is no such date ({error})") from error
    return whole, float(f"0.{part}") if part else 0.0


def _zone(text: str | None) -> timezone:
    if text is None or text in "zZ":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)
