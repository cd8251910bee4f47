"""Packet times, one a line: the trace files of Mahimahi.

Each line is a whole number of milliseconds at which one packet of 1,500 bytes may pass; several lines may share a
millisecond. The file repeats after its last line (Netravali et al., 2015). What has passed at each recorded time is
kept exactly: packets pass evenly since the recorded time before, unless that is more than 100 ms ago, which is an
outage that ends with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.formats.samples import checked, shown
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.units import bits

PACKET_BYTES = 1500
_FEWEST_LINES = 50
_OUTAGE_MS = 100
_LATEST_MS = 10**10
_MILLISECONDS_PER_SECOND = 1e3
SUFFIXES = {".up": "up", ".down": "down"}
"""File names of Mahimahi and what they say of the direction."""


def are_packet_times(lines: Sequence[tuple[int, str]], suffix: str) -> bool:
    """Whether lines are packet times beyond doubt: by the file's name, or 50 whole numbers that never fall.

    Parameters
    ----------
    lines
        Number and content of each line that is not blank.
    suffix
        End of the file's name.
    """
    if not all(_is_whole(line) for _, line in lines[:_FEWEST_LINES]):
        return False
    if suffix in SUFFIXES:
        return True
    times = [int(line) for _, line in lines if _is_whole(line)]
    return len(times) == len(lines) >= _FEWEST_LINES and all(a <= b for a, b in itertools.pairwise(times))


def from_packet_times(lines: Sequence[tuple[int, str]], name: str, suffix: str) -> Recording:
    """Read packet times.

    Parameters
    ----------
    lines
        Number and content of each line that is not blank.
    name
        Where they come from, for messages.
    suffix
        End of the file's name, which may state the direction.

    Raises
    ------
    ScenarioError
        If a line is no whole number, or times fall.
    """
    times_ms = np.empty(len(lines), dtype=np.int64)
    for index, (number, line) in enumerate(lines):
        if not _is_whole(line) or int(line) > _LATEST_MS:
            raise ScenarioError(
                f"{name}, line {number}: found {shown(line)!r}; needs a whole number of milliseconds, as every line of "
                "a file of packet times has"
            )
        times_ms[index] = int(line)
        if index and times_ms[index] < times_ms[index - 1]:
            raise ScenarioError(
                f"{name}, line {number}: the time goes back from {times_ms[index - 1]} ms to {line} ms; needs packet "
                "times that do not fall"
            )
    if times_ms[-1] == 0:
        raise ScenarioError(f"{name}: all packets are at 0 ms; needs packet times that last some time")
    # A packet at 0 passes at the end of the period before, which is the same point of a file that repeats.
    stamps_ms, packets = np.unique(np.where(times_ms == 0, times_ms[-1], times_ms), return_counts=True)
    gaps_ms = np.diff(stamps_ms, prepend=0)
    durations_ms, counts, places = [], [], []
    for stamp_ms, gap_ms, count in zip(stamps_ms.tolist(), gaps_ms.tolist(), packets.tolist(), strict=True):
        if gap_ms > _OUTAGE_MS:
            durations_ms.append(gap_ms - 1)
            counts.append(0)
            places.append(f"up to {stamp_ms} ms")
        durations_ms.append(1 if gap_ms > _OUTAGE_MS else gap_ms)
        counts.append(count)
        places.append(f"at {stamp_ms} ms")
    durations_s = np.array(durations_ms) / _MILLISECONDS_PER_SECOND
    trace = checked(durations_s, np.array(counts) * bits(PACKET_BYTES) / durations_s, places, name)
    direction = SUFFIXES.get(suffix)
    return (
        Recording(name, up=trace)
        if direction == "up"
        else (Recording(name, down=trace) if direction == "down" else Recording(name, both=trace))
    )


def _is_whole(line: str) -> bool:
    return line.isascii() and line.isdigit() and len(line) < 19
