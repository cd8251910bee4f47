"""Packet times, one a line: the trace files of Mahimahi.

Each line is a whole number of milliseconds at which one packet of 1,500 bytes may pass; several lines may share a
millisecond. The file repeats after its last line (Netravali et al., 2015). What has passed at each recorded time is
kept exactly: packets pass evenly since the recorded time before, unless that is more than 100 ms ago, which is an
outage that ends with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.formats.samples import checked
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.units import bits

IntArray = NDArray[np.int64]
PACKET_BYTES = 1500
_CHARACTERS = set("0123456789\r\n")
_FEWEST_LINES = 50
_OUTAGE_MS = 100
_LATEST_MS = 10**10
_MILLISECONDS_PER_SECOND = 1e3
SUFFIXES = {".up": "up", ".down": "down"}
"""File names of Mahimahi and what they say of the direction."""


def may_be_packet_times(text: str) -> bool:
    """Whether a text is whole numbers only, one a line.

    Parameters
    ----------
    text
        Content of the file.
    """
    return set(text) <= _CHARACTERS and not text.isspace()


def are_packet_times(times_ms: IntArray, suffix: str) -> bool:
    """Whether whole numbers are packet times beyond doubt: by the file's name, or 50 of them that never fall.

    Parameters
    ----------
    times_ms
        [P] the numbers.
    suffix
        End of the file's name.
    """
    return suffix in SUFFIXES or (len(times_ms) >= _FEWEST_LINES and bool((np.diff(times_ms) >= 0).all()))


def whole_numbers(text: str, name: str) -> IntArray:
    """Return [P] the numbers of a text that is whole numbers only.

    Parameters
    ----------
    text, name
        Content of the file, and where it comes from, for messages.

    Raises
    ------
    ScenarioError
        If one is too large for a time in milliseconds.
    """
    found = np.fromstring(text, dtype=np.float64, sep=" ")
    if (found > _LATEST_MS).any():
        index = int(np.argmax(found > _LATEST_MS))
        raise ScenarioError(
            f"{name}, line {_line_of(index, text)}: found {found[index]:g}; needs packet times in ms of at most "
            f"{_LATEST_MS:,}"
        )
    return found.astype(np.int64)


def from_packet_times(times_ms: IntArray, text: str, name: str, suffix: str) -> Recording:
    """Read packet times.

    Parameters
    ----------
    times_ms
        [P] the packet times, ms.
    text, name
        Content of the file, and where it comes from, for messages.
    suffix
        End of the file's name, which may state the direction.

    Raises
    ------
    ScenarioError
        If times fall, or are all zero.
    """
    falls = np.diff(times_ms) < 0
    if falls.any():
        index = int(np.argmax(falls))
        raise ScenarioError(
            f"{name}, line {_line_of(index + 1, text)}: the time goes back from {times_ms[index]} ms to "
            f"{times_ms[index + 1]} ms; needs packet times that do not fall"
        )
    if times_ms[-1] == 0:
        raise ScenarioError(f"{name}: all packets are at 0 ms; needs packet times that last some time")
    # A packet at 0 passes at the end of the period before, which is the same point of a file that repeats.
    stamps_ms, packets = np.unique(np.where(times_ms == 0, times_ms[-1], times_ms), return_counts=True)
    gaps_ms = np.diff(stamps_ms, prepend=0)
    # Each stamp is one sample, or after an outage two.
    after_outage = gaps_ms > _OUTAGE_MS
    samples = 1 + after_outage
    durations_ms, counts = np.repeat(gaps_ms, samples), np.repeat(packets, samples)
    lasts = np.cumsum(samples) - 1
    durations_ms[lasts[after_outage]] = 1
    durations_ms[lasts[after_outage] - 1] -= 1
    counts[lasts[after_outage] - 1] = 0
    ends_ms = np.cumsum(durations_ms)
    durations_s = durations_ms / _MILLISECONDS_PER_SECOND
    trace = checked(durations_s, counts * bits(PACKET_BYTES) / durations_s, _Places(ends_ms), name)
    direction = SUFFIXES.get(suffix)
    return (
        Recording(name, up=trace)
        if direction == "up"
        else (Recording(name, down=trace) if direction == "down" else Recording(name, both=trace))
    )


class _Places(Sequence[str]):
    """Where samples stand: the time at which each ends."""

    def __init__(self, ends_ms: IntArray) -> None:
        self._ends_ms = ends_ms

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return _Places(self._ends_ms[index])
        return f"up to {self._ends_ms[index]} ms"

    def __len__(self) -> int:
        return len(self._ends_ms)


def _line_of(index: int, text: str) -> int:
    """Return the line of the number at an index, from 1."""
    numbers = (number for number, line in enumerate(text.splitlines(), start=1) if line)
    return next(itertools.islice(numbers, index, None))
