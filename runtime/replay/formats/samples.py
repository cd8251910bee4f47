"""What all formats have in common: from stamps to lengths, and which samples are no measurement."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridsplit.runtime.replay.traces import BandwidthTrace, FloatArray, check_samples
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.units import format_rate, format_seconds

FORMATS = (
    "needs a recording: a JSON list of objects with duration_ms and bandwidth_kbps, lines of 'seconds<TAB>Mbit/s', a "
    "CSV whose header names columns with their units (time_s,dl_mbps), packet times in ms one a line (Mahimahi), or "
    "the output of iperf3 --json"
)
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
COMMENT = ("#", "//")
_SHOWN_CHARACTERS = 60
_FASTEST_BPS = 1e12
_SLOWEST_BPS = 1.0
_PAUSE_S = 120.0
_PAUSE_MEDIANS = 20.0
_MOST_DISPLACED = 5


def shown(text: str) -> str:
    """Return a text cut to what a message can hold."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def in_order(stamps_s: FloatArray, places: Sequence[str], name: str) -> tuple[NDArray[np.intp], str]:
    """Return the order in which stamps rise, and a note where it is not that of the file.

    Lines that come a little late are put where they belong, and a file with its newest line first is turned round.
    Stamps that fall otherwise are those of a clock that was set back, or of two recordings in one file.

    Parameters
    ----------
    stamps_s
        [S] stamps.
    places, name
        Where each stands, and the file, for messages.

    Raises
    ------
    ScenarioError
        If a stamp is not finite, or stamps fall so that their order is in doubt.
    """
    finite = np.isfinite(stamps_s)
    if not finite.all():
        index = int(np.argmin(finite))
        raise ScenarioError(f"{name}, {places[index]}: found the time {stamps_s[index]}; needs a finite number")
    steps_s = np.diff(stamps_s)
    order = np.arange(len(stamps_s))
    falls = steps_s < 0
    if not falls.any():
        return order, ""
    if len(stamps_s) > 2 and falls.all():
        return order[::-1], "its newest sample comes first; read from its end"
    found = np.argsort(stamps_s, kind="stable")
    first = int(np.argmax(falls))
    if int(np.abs(found - order).max()) > _MOST_DISPLACED:
        raise ScenarioError(
            f"{name}, {places[first + 1]}: the time goes back from {stamps_s[first]:.15g} s to "
            f"{stamps_s[first + 1]:.15g} s; needs times that rise, or single lines that come at most {_MOST_DISPLACED} "
            "lines late: the clock was set back, or these are two recordings: cut the file there"
        )
    return found, f"{int(falls.sum())} of its samples come late, the first at {places[first + 1]}; put in order"


def lasting(stamps_s: FloatArray, places: Sequence[str], name: str) -> FloatArray:
    """Return how long each sample lasts, s, from stamps that do not fall.

    Samples that share a stamp divide the time until the next one evenly, whatever their rate: a stall is not empty.
    The last stamp has no next one and lasts the median.

    Parameters
    ----------
    stamps_s
        [S] stamps, rising or equal.
    places, name
        Where each stands, and the file, for messages.

    Raises
    ------
    ScenarioError
        If there are fewer than two stamps, or all are equal.
    """
    if len(stamps_s) < 2:
        raise ScenarioError(
            f"{name}: found {'one sample' if len(stamps_s) else 'no samples'}; needs two or more, since a sample lasts "
            "until the next one's time"
        )
    starts = np.flatnonzero(np.concatenate(([True], np.diff(stamps_s) > 0)))
    if len(starts) == 1:
        raise ScenarioError(
            f"{name}: all samples have length zero, for each, from {places[0]} on, is at {stamps_s[0]:g} s; needs a "
            "recording that lasts some time"
        )
    distinct_s = np.diff(stamps_s[starts])
    shared = np.diff(np.append(starts, len(stamps_s)))
    lasting_s = np.append(distinct_s, np.median(distinct_s))
    return np.asarray(np.repeat(lasting_s / shared, shared), dtype=np.float64)


def checked(
    durations_s: FloatArray,
    rates_bps: FloatArray,
    places: Sequence[str],
    name: str,
    latency_s: FloatArray | None = None,
    *,
    is_per_hertz: bool = False,
) -> BandwidthTrace:
    """Return the trace, unless a sample is a pause of the recorder or its rate is that of no link.

    Parameters
    ----------
    durations_s, rates_bps
        [S] length and rate of each sample.
    places, name
        Where each sample stands, and the file, for messages.
    latency_s
        [S] delay of one crossing during each sample; None where it was not recorded.
    is_per_hertz
        Whether rates are spectral efficiencies, which have limits of their own.

    Raises
    ------
    ScenarioError
        If a sample is no measurement.
    """
    check_samples(durations_s, rates_bps, name, places.__getitem__)
    slowest = 1e-3 if is_per_hertz else _SLOWEST_BPS
    doubtful = (rates_bps > _FASTEST_BPS) | ((rates_bps > 0) & (rates_bps < slowest))
    if doubtful.any():
        index = int(np.argmax(doubtful))
        raise ScenarioError(
            f"{name}, {places[index]}: found a rate of {rates_bps[index]:g} bit/s; needs 0, or 1 bit/s to "
            f"{format_rate(_FASTEST_BPS)}: the number is damaged or in another unit"
        )
    if latency_s is not None and not (sound := (latency_s >= 0) & (latency_s < _PAUSE_S)).all():
        index = int(np.argmin(sound))
        raise ScenarioError(
            f"{name}, {places[index]}: found a latency of {latency_s[index]:g} s; needs 0 or more, and less than "
            f"{_PAUSE_S:g} s: the number is damaged or in another unit"
        )
    median_s = float(np.median(durations_s[durations_s > 0]))
    longest = int(np.argmax(durations_s))
    if durations_s[longest] > max(_PAUSE_S, _PAUSE_MEDIANS * median_s):
        raise ScenarioError(
            f"{name}, {places[longest]}: the sample lasts {format_seconds(durations_s[longest])}, others "
            f"{format_seconds(median_s)} (median): the recorder paused there, and what the link did is unknown; needs "
            f"samples of at most {format_seconds(_PAUSE_S)} or {_PAUSE_MEDIANS:g} times the median: cut the file at "
            "the pause into one file a recording"
        )
    return BandwidthTrace(durations_s, rates_bps, name, latency_s=latency_s, is_per_hertz=is_per_hertz)


def held(values: Sequence[float]) -> FloatArray | None:
    """Return measurements with gaps as a series: a gap keeps what was measured last, the beginning what comes first.

    Parameters
    ----------
    values
        [S] measurements; NaN where there is none.

    Returns
    -------
    [S] without gaps; None where nothing was measured.
    """
    first = next((value for value in values if not math.isnan(value)), None)
    if first is None:
        return None
    filled, last = [], first
    for value in values:
        last = last if math.isnan(value) else value
        filled.append(last)
    return np.array(filled)
