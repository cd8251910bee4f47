"""What the name of a column says: quantity, direction and unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

_RATE_UNITS_BPS = MappingProxyType({"bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9})
_TIME_UNITS_S = MappingProxyType(
    {
        **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
        **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), 1e-3),
        **dict.fromkeys(("us", "µs", "usec", "microseconds"), 1e-6),
        **dict.fromkeys(("ns", "nanoseconds"), 1e-9),
    }
)
_LOGGED_UNITS = MappingProxyType({"dl_bitrate": 1e3, "ul_bitrate": 1e3, "ping": 1e-3, "pingavg": 1e-3})
"""Columns of drive logs (G-NetTrack and the 4G and 5G data sets made with it), whose units are kbit/s and ms."""
_DIRECTIONS = MappingProxyType(
    {
        **dict.fromkeys(("dl", "down", "downlink", "download"), "down"),
        **dict.fromkeys(("ul", "up", "uplink", "upload"), "up"),
    }
)
_TIMES = {"time", "timestamp", "timestamps", "datetime", "date", "epoch", "elapsed", "t", "unixtime"}
_ROUND_TRIPS = {"rtt", "ping", "pingavg"}
_RATES = {"bitrate", "throughput", "bandwidth", "goodput", "datarate"}
_BYTES = re.compile(r"(^|[^A-Za-z])([kKMG]?i?B(ps|/s)|[kKMG]?i?bytes?([ _/]|$))")
_BIT = re.compile(r"([kmg]?)\s*bits?\s*(?:/|_|\s+per\s+|p|\s+)\s*s(?:ec|econd)?\b|([kmg])b/s\b")


class Quantity(StrEnum):
    """What a column holds."""

    TIME = "time"
    DURATION = "duration"
    RATE = "rate"
    LATENCY = "latency"
    CQI = "cqi"
    MCS = "mcs"
    UNREAD = "not read"


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    index, name
        Where it stands, from 0, and its name as the file has it.
    quantity
        What it holds.
    unit
        Its unit in seconds or bit/s, round trips halved; None where the name states none.
    direction
        ``up``, ``down`` or ``both`` where the name states none.
    table
        Number of the table that an index is of; None where the name states none.
    """

    index: int
    name: str
    quantity: Quantity
    unit: float | None = None
    direction: str = "both"
    table: int | None = None


def column_of(index: int, name: str) -> Column:
    """Return what the name of a column says.

    Parameters
    ----------
    index, name
        Where the column stands, and its name.
    """
    text = name.strip()
    if _BYTES.search(text):
        is_rate = set(_words(text)) & (_RATES | set(_DIRECTIONS))
        return Column(index, text, Quantity.RATE if is_rate else Quantity.UNREAD)
    words = _words(_BIT.sub(lambda found: f" {found[1] or found[2] or ''}bps ", text.lower()))
    if not words:
        return Column(index, text, Quantity.UNREAD)
    joined, last = "_".join(words), words[-1]
    direction = _direction(words)
    if table := re.fullmatch(r"(?:dl_|ul_)?(cqi|mcs)(?:_?(?:index|table))?_?([1-3])?", joined):
        return Column(index, text, Quantity(table[1]), None, direction, int(table[2]) if table[2] else None)
    if joined in _LOGGED_UNITS:
        is_ping = joined in _ROUND_TRIPS
        quantity, unit = (Quantity.LATENCY if is_ping else Quantity.RATE), _LOGGED_UNITS[joined]
        return Column(index, text, quantity, unit / 2 if is_ping else unit, direction)
    if last in _RATE_UNITS_BPS:
        return Column(index, text, Quantity.RATE, _RATE_UNITS_BPS[last], direction)
    seconds = _TIME_UNITS_S.get(last) if len(words) > 1 else None
    if set(words) & _ROUND_TRIPS and seconds is not None:
        return Column(index, text, Quantity.LATENCY, seconds / 2)
    if "latency" in words:
        return Column(index, text, Quantity.LATENCY if seconds else Quantity.UNREAD, seconds)
    if words[0] == "duration":
        return Column(index, text, Quantity.DURATION if seconds else Quantity.UNREAD, seconds)
    if words[0] in _TIMES or joined in _TIME_UNITS_S:
        return Column(index, text, Quantity.TIME, seconds or _TIME_UNITS_S.get(joined))
    # A rate without a unit is a rate all the same: it is refused where nothing better is there.
    return Column(index, text, Quantity.RATE if set(words) & _RATES else Quantity.UNREAD, None, direction)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9µ]+", text.lower()) if word]


def _direction(words: list[str]) -> str:
    found = {_DIRECTIONS[word] for word in words if word in _DIRECTIONS}
    return found.pop() if len(found) == 1 else "both"
