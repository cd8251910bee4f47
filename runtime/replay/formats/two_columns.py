"""Lines of ``seconds<TAB>Mbit/s``, as iperf3 logs of Wi-Fi have them: what is not read for certain is refused.

Lines name no units, hence only figures that leave no doubt are taken as seconds and Mbit/s: steps of at least 1 ms and
less than 10 s at the median (10 and more may be milliseconds), rates of at most 1,000 Mbit/s (more may be kbit/s).
Dates, and numbers that count from 1970 to the years 2001 to 2096, are times in any unit. A recording outside these
limits is written with a header that names the units. Comments are passed over unless they speak of other units.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.formats.samples import COMMENT, FORMATS, NUMBER, checked, in_order, lasting, shown
from hybridsplit.runtime.replay.formats.time_stamps import LATEST_EPOCH_S, epoch_unit_s, is_date, seconds_of
from hybridsplit.runtime.replay.traces import FloatArray
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.units import bits_per_second_from_mbps, format_rate, format_seconds

_WITH_HEADER = "convert it, or begin the file with a header that names the units, as 'time_ms<TAB>rate_kbps'"
_LONGEST_STEP_S = 10.0
_SHORTEST_STEP_S = 1e-3
_FASTEST_LINE_BPS = 1e9
_OTHER_UNIT = re.compile(
    r"\b(ms|msecs?|millis\w*|us|µs|micros\w*|ns|min|mins|minutes?|hours?|kbps|kbit\w*|kb|kilo\w*|gbps|gbit\w*|gb|giga\w*"
    r"|bps|bits?/s|bit|bits|bytes?|mb|mib|kib)\b|[KMGk]B/s",
    re.IGNORECASE,
)


def from_lines(lines: Sequence[tuple[int, str]], name: str) -> Recording:
    """Read lines of two columns.

    Parameters
    ----------
    lines
        Number and content of each line that is not blank, comments included.
    name
        Where they come from, for messages.

    Raises
    ------
    ScenarioError
        If a line is not two columns, units are in doubt, or a sample is no measurement.
    """
    texts, rates_mbps, places = [], [], []
    for number, line in lines:
        if line.startswith(COMMENT):
            _check_comment(line, f"{name}, line {number}")
            continue
        columns = line.rsplit(None, 1)
        is_time = len(columns) == 2 and (NUMBER.fullmatch(columns[0].strip()) or is_date(columns[0]))
        if not (is_time and NUMBER.fullmatch(columns[1])):
            raise ScenarioError(f"{name}, line {number}: found {shown(line)!r}, {_likely(line.split())}; {FORMATS}")
        texts.append(columns[0])
        rates_mbps.append(float(columns[1]))
        places.append(f"line {number}")
    stamps_s = _seconds(texts, places, name)
    order, note = in_order(stamps_s, places, name)
    stamps_s, places = stamps_s[order], [places[index] for index in order]
    rates_bps = np.array([bits_per_second_from_mbps(rates_mbps[index]) for index in order])
    durations_s = lasting(stamps_s, places, name)
    _check_steps(stamps_s, places, name)
    _check_rates(rates_bps, places, name)
    return Recording(name, both=checked(durations_s, rates_bps, places, name), notes=(note,) if note else ())


def _seconds(texts: Sequence[str], places: Sequence[str], name: str) -> FloatArray:
    if not texts or is_date(texts[0]):
        return seconds_of(texts, places, name)
    if epoch_unit_s(float(texts[0])) is not None:
        return seconds_of(texts, places, name)
    for text, place in zip(texts, places, strict=True):
        if NUMBER.fullmatch(text.strip()) and LATEST_EPOCH_S < float(text) < np.inf:
            raise ScenarioError(
                f"{name}, {place}: found the time {float(text):.15g}; needs seconds, which would lie after the year "
                f"2096 if they count from 1970: {_WITH_HEADER}"
            )
    return seconds_of(texts, places, name, 1.0)


def _check_comment(line: str, where: str) -> None:
    if found := _OTHER_UNIT.search(line.lower().replace("mbit/s", "").replace("mbps", "")):
        raise ScenarioError(
            f"{where}: found {shown(line)!r}, a comment which may state other units ({found[0]}) than seconds and "
            f"Mbit/s: check them, and remove it; {_WITH_HEADER}"
        )


def _likely(columns: list[str]) -> str:
    """Say what a line that is not two numbers probably is."""
    if len(columns) == 1 and NUMBER.fullmatch(columns[0]):
        return "one number: packet times, one a line, are whole milliseconds that never fall, at least 50 of them"
    if len(columns) == 1 and re.search("[,;]", columns[0]):
        return "columns that are split at commas or semicolons, which need a header that names them with units"
    if all(NUMBER.fullmatch(column) for column in columns):
        return f"{len(columns)} columns, which need a header that names them with units"
    return "not two numbers"


def _check_steps(stamps_s: FloatArray, places: Sequence[str], name: str) -> None:
    """Refuse stamps that may be in another unit than seconds."""
    steps_s = np.diff(stamps_s)
    median_s = float(np.median(steps_s[steps_s > 0]))
    if median_s >= _LONGEST_STEP_S:
        raise ScenarioError(
            f"{name}, {places[0]} to {places[-1]}: the first column rises by {median_s:g} a line (median), "
            f"which may be {format_seconds(median_s)}, or {median_s:g} ms = {format_seconds(median_s / 1e3)}; needs "
            f"seconds in steps of less than {_LONGEST_STEP_S:g}, so that there is no doubt: {_WITH_HEADER}"
        )
    if median_s < _SHORTEST_STEP_S:
        raise ScenarioError(
            f"{name}, {places[0]} to {places[-1]}: the first column rises by {median_s:g} a line (median), too little "
            f"for seconds, which may be minutes, hours or days; needs steps of at least {_SHORTEST_STEP_S:g} s: "
            f"{_WITH_HEADER}"
        )


def _check_rates(rates_bps: FloatArray, places: Sequence[str], name: str) -> None:
    """Refuse rates that may be in another unit than Mbit/s."""
    index = int(np.argmax(np.where(np.isfinite(rates_bps), rates_bps, -1.0)))
    if rates_bps[index] > _FASTEST_LINE_BPS:
        figure = rates_bps[index] / bits_per_second_from_mbps(1.0)
        raise ScenarioError(
            f"{name}, {places[index]}: the second column has {figure:g}, which may be "
            f"{format_rate(rates_bps[index])}, or {figure:g} kbit/s = {format_rate(rates_bps[index] / 1e3)}; needs "
            f"Mbit/s of at most {_FASTEST_LINE_BPS / 1e6:,.0f}, so that there is no doubt: {_WITH_HEADER}"
        )
