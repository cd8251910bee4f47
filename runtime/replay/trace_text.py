"""Reading a recorded trace from text, strictly: what is not read for certain is refused.

Two formats are recognised by content, not by file name: a JSON list of ``duration_ms``, ``bandwidth_kbps`` (and
``latency_ms``, which is not used), as the 4G and 3G commute logs have it; and lines of ``seconds<TAB>Mbit/s``, as
iperf3 logs of Wi-Fi have it. Rates are SI: 1 kbit is 1,000 bit.

Lines name no units, hence only figures that leave no doubt are taken as seconds and Mbit/s: steps of at least 1 ms and
less than 10 s at the median (10 and more may be milliseconds), stamps below 4·10^9 (the year 2096), rates of at most
1,000 Mbit/s (more may be kbit/s). A recording outside these limits is written as JSON, whose keys name the units. Lines
that share their stamp divide the time until the next stamp evenly. In either format a sample of more than two minutes
and 20 times the median length is a pause of the recorder, not a measurement.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from hybridsplit.runtime.replay.traces import BandwidthTrace, FloatArray, check_samples
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.units import (
    bits_per_second_from_kbps,
    bits_per_second_from_mbps,
    format_rate,
    format_seconds,
)

FORMATS = (
    "needs a JSON list of objects with duration_ms and bandwidth_kbps, or lines of 'seconds<TAB>Mbit/s' with rising "
    "seconds"
)
_AS_JSON = "convert it, or write it as JSON, whose keys duration_ms and bandwidth_kbps name the units"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_SHOWN_CHARACTERS = 60
_MILLISECONDS_PER_SECOND = 1e3
_LONGEST_STEP_S = 10.0
_SHORTEST_STEP_S = 1e-3
_LATEST_STAMP_S = 4e9
_FASTEST_LINE_BPS = 1e9
_FASTEST_BPS = 1e12
_SLOWEST_BPS = 1.0
_PAUSE_S = 120.0
_PAUSE_MEDIANS = 20.0


def parse_trace(text: str, name: str) -> BandwidthTrace:
    """Read a recorded trace from text, in either of the formats that the module describes.

    Parameters
    ----------
    text
        Content of the file.
    name
        Where it comes from, for messages.

    Returns
    -------
    BandwidthTrace
        With that name.

    Raises
    ------
    ScenarioError
        If the text is in neither format, leaves its units in doubt, or holds no usable samples.
    """
    if not text.strip():
        raise ScenarioError(f"{name}: the file is empty; {FORMATS}")
    return _from_json(text, name) if text.lstrip()[0] in "[{" else _from_lines(text, name)


def _from_json(text: str, name: str) -> BandwidthTrace:
    try:
        document = json.loads(text, parse_int=float, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{name}: begins like JSON but is not ({error}); {FORMATS}") from error
    if not isinstance(document, list):
        raise ScenarioError(f"{name}: found a JSON object; {FORMATS}")
    durations_s, rates_bps = [], []
    for index, sample in enumerate(document):
        where = f"{name}: item {index + 1}"
        durations_s.append(_number_of(sample, "duration_ms", where) / _MILLISECONDS_PER_SECOND)
        rates_bps.append(bits_per_second_from_kbps(_number_of(sample, "bandwidth_kbps", where)))
    places = [f"item {index + 1}" for index in range(len(document))]
    return _checked(np.array(durations_s), np.array(rates_bps), places, name)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"found the key {_shown(twice)!r} twice in one object")
    return found


def _number_of(sample: Any, key: str, where: str) -> float:
    value = sample.get(key) if isinstance(sample, dict) else None
    if not isinstance(value, float):
        raise ScenarioError(f"{where}: found {key} = {_shown(repr(value))}; needs a number. The file {FORMATS}")
    return value


def _from_lines(text: str, name: str) -> BandwidthTrace:
    stamps_s, rates_bps, places = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        columns = line.split()
        if not columns:
            continue
        if len(columns) != 2 or not all(_NUMBER.fullmatch(column) for column in columns):
            raise ScenarioError(f"{name}, line {number}: found {_shown(line.strip())!r}, {_likely(columns)}; {FORMATS}")
        stamps_s.append(float(columns[0]))
        rates_bps.append(bits_per_second_from_mbps(float(columns[1])))
        places.append(f"line {number}")
    if len(stamps_s) < 2:
        raise ScenarioError(
            f"{name}: found one sample; needs two or more, since a sample lasts until the next one's seconds"
        )
    durations_s = _durations(np.array(stamps_s), places, name)
    _check_line_rates(np.array(rates_bps), places, name)
    return _checked(durations_s, np.array(rates_bps), places, name)


def _likely(columns: list[str]) -> str:
    """Say what a line that is not two numbers probably is."""
    if columns[0].startswith(("#", "//", ";")):
        return "a comment, which may state other units; check them and remove it"
    if len(columns) == 1 and _NUMBER.fullmatch(columns[0]):
        return "one number: packet timestamps, one a line, are another format"
    if len(columns) == 1 and re.search("[,;]", columns[0]):
        return "columns that are split at commas or semicolons, which is another format"
    if all(_NUMBER.fullmatch(column) for column in columns):
        return f"{len(columns)} columns"
    return "not two numbers"


def _durations(stamps_s: FloatArray, places: list[str], name: str) -> FloatArray:
    """Return how long each sample lasts: samples that share a stamp divide the time until the next one evenly."""
    with np.errstate(invalid="ignore"):  # infinite stamps are refused below
        steps_s = np.diff(stamps_s)
    falls = ~(np.isfinite(stamps_s[:-1]) & (steps_s >= 0))
    if falls.any() or not np.isfinite(stamps_s[-1]):
        index = int(np.argmax(falls)) if falls.any() else len(steps_s) - 1
        raise ScenarioError(
            f"{name}, {places[index + 1]}: the seconds go from {stamps_s[index]} to {stamps_s[index + 1]}; "
            "needs seconds that rise"
        )
    starts = np.flatnonzero(np.concatenate(([True], steps_s > 0)))
    if len(starts) == 1:
        raise ScenarioError(
            f"{name}: all samples have length zero, for every line is at {stamps_s[0]:g} s; needs a recording that "
            "lasts some time"
        )
    distinct_s = np.diff(stamps_s[starts])
    median_s = float(np.median(distinct_s))
    _check_steps(median_s, stamps_s, places, name)
    shared = np.diff(np.append(starts, len(stamps_s)))
    lasting_s = np.append(distinct_s, median_s)  # the last stamp has no next one
    return np.repeat(lasting_s / shared, shared)


def _check_steps(median_s: float, stamps_s: FloatArray, places: list[str], name: str) -> None:
    """Refuse stamps that may be in another unit than seconds."""
    if stamps_s[-1] > _LATEST_STAMP_S:
        raise ScenarioError(
            f"{name}, {places[-1]}: found the stamp {stamps_s[-1]:.15g}; needs seconds, and as seconds since 1970 it "
            f"would lie after the year 2096: milliseconds or smaller, it seems: {_AS_JSON}"
        )
    if median_s >= _LONGEST_STEP_S:
        raise ScenarioError(
            f"{name}, {places[0]} to {places[-1]}: the first column rises by {median_s:g} a line (median), "
            f"which may be {format_seconds(median_s)}, or {median_s:g} ms = {format_seconds(median_s / 1e3)}; needs "
            f"seconds in steps of less than {_LONGEST_STEP_S:g}, so that there is no doubt: {_AS_JSON}"
        )
    if median_s < _SHORTEST_STEP_S:
        raise ScenarioError(
            f"{name}, {places[0]} to {places[-1]}: the first column rises by {median_s:g} a line (median), too little "
            f"for seconds, which may be minutes, hours or days; needs steps of at least {_SHORTEST_STEP_S:g} s: "
            f"{_AS_JSON}"
        )


def _check_line_rates(rates_bps: FloatArray, places: list[str], name: str) -> None:
    """Refuse rates that may be in another unit than Mbit/s."""
    index = int(np.argmax(np.where(np.isfinite(rates_bps), rates_bps, -1.0)))
    if rates_bps[index] > _FASTEST_LINE_BPS:
        figure = rates_bps[index] / bits_per_second_from_mbps(1.0)
        raise ScenarioError(
            f"{name}, {places[index]}: the second column has {figure:g}, which may be "
            f"{format_rate(rates_bps[index])}, or {figure:g} kbit/s = {format_rate(rates_bps[index] / 1e3)}; needs "
            f"Mbit/s of at most {_FASTEST_LINE_BPS / 1e6:,.0f}, so that there is no doubt: {_AS_JSON}"
        )


def _checked(durations_s: FloatArray, rates_bps: FloatArray, places: list[str], name: str) -> BandwidthTrace:
    """Return the trace, unless a sample is a pause or its rate is that of no link."""
    check_samples(durations_s, rates_bps, name, places.__getitem__)
    doubtful = (rates_bps > _FASTEST_BPS) | ((rates_bps > 0) & (rates_bps < _SLOWEST_BPS))
    if doubtful.any():
        index = int(np.argmax(doubtful))
        raise ScenarioError(
            f"{name}, {places[index]}: found a rate of {rates_bps[index]:g} bit/s; needs 0, or 1 bit/s to "
            f"{format_rate(_FASTEST_BPS)}: the number is damaged or in another unit"
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
    return BandwidthTrace(durations_s, rates_bps, name)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
