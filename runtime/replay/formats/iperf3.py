"""What ``iperf3 --json`` writes: bytes of every interval, and the smallest round trip of TCP."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridsplit.runtime.replay.formats.recording import Recording
from hybridsplit.runtime.replay.formats.samples import checked, shown
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.units import bits

_MICROSECONDS_PER_SECOND = 1e6
_SEAM_S = 0.05
_ONCE_MORE = "record again with 'iperf3 --json'"


def from_iperf3(document: dict[str, Any], name: str) -> Recording:
    """Read a test of iperf3, in which the device is taken for the client.

    Parameters
    ----------
    document
        The document; numbers in it are floats.
    name
        Where it comes from, for messages.

    Returns
    -------
    Recording
        Uplink, or downlink where the test ran in reverse, or both. Intervals that iperf3 was asked to omit are left
        out. The delay of a crossing is half the smallest round trip that TCP saw.

    Raises
    ------
    ScenarioError
        If the test failed, or its figures are not those of bytes that arrived.
    """
    if document.get("error"):
        raise ScenarioError(f"{name}: iperf3 stopped with {shown(str(document['error']))!r}; {_ONCE_MORE}")
    start = document.get("start")
    test = start.get("test_start") if isinstance(start, dict) else None
    intervals = document.get("intervals")
    if not (isinstance(test, dict) and isinstance(intervals, list) and intervals):
        raise ScenarioError(f"{name}: has no start.test_start or no intervals; {_ONCE_MORE}")
    is_reversed = bool(test.get("reverse"))
    directions = {"sum": "down" if is_reversed else "up"}
    if test.get("bidir") or (isinstance(intervals[0], dict) and "sum_bidir_reverse" in intervals[0]):
        directions["sum_bidir_reverse"] = "up" if is_reversed else "down"
    latency_s = _smallest_delay_s(document.get("end"))
    omitted = sum(_is_omitted(interval) for interval in intervals)
    series = {
        direction: _series(intervals, key, name, latency_s, is_udp=test.get("protocol") == "UDP")
        for key, direction in directions.items()
    }
    notes = (f"{omitted} of its {len(intervals)} intervals were to be omitted; left out",) if omitted else ()
    return Recording(name, up=series.get("up"), down=series.get("down"), notes=notes)


def _series(intervals: list[Any], key: str, name: str, latency_s: float | None, *, is_udp: bool) -> BandwidthTrace:
    durations_s, rates_bps, places = [], [], []
    end_s: float | None = None
    for number, interval in enumerate(intervals, start=1):
        if _is_omitted(interval):
            continue
        where = f"{name}, interval {number}"
        figures = interval.get(key) if isinstance(interval, dict) else None
        begin_s, until_s, size_bytes = (_figure(figures, k, f"{where}: {key}") for k in ("start", "end", "bytes"))
        if is_udp and figures is not None and figures.get("sender") is not False:
            raise ScenarioError(
                f"{where}: counts what was sent by UDP, not what arrived; needs figures of the receiver: record with "
                "--reverse on the device, or take the server's output"
            )
        if end_s is not None and abs(begin_s - end_s) > _SEAM_S:
            raise ScenarioError(
                f"{where}: begins at {begin_s:g} s, and the one before ends at {end_s:g} s; needs intervals that "
                "follow one another: the file is damaged"
            )
        end_s = until_s
        lasting_s = until_s - begin_s
        if lasting_s <= 0 and size_bytes == 0:
            continue
        if lasting_s <= 0:
            raise ScenarioError(f"{where}: goes from {begin_s:g} s to {until_s:g} s; needs an end after its start")
        durations_s.append(lasting_s)
        rates_bps.append(bits(size_bytes) / lasting_s)
        places.append(f"interval {number}")
    if not durations_s:
        raise ScenarioError(f"{name}: has no interval that counts; {_ONCE_MORE}")
    latencies_s = None if latency_s is None else np.full(len(durations_s), latency_s)
    return checked(np.array(durations_s), np.array(rates_bps), places, name, latencies_s)


def _is_omitted(interval: Any) -> bool:
    total = interval.get("sum") if isinstance(interval, dict) else None
    return isinstance(total, dict) and total.get("omitted") is True


def _figure(figures: Any, key: str, where: str) -> float:
    value = figures.get(key) if isinstance(figures, dict) else None
    if not isinstance(value, float) or not np.isfinite(value):
        raise ScenarioError(f"{where}.{key}: found {shown(repr(value))}; needs a number; {_ONCE_MORE}")
    return value


def _smallest_delay_s(end: Any) -> float | None:
    """Return half the smallest round trip; None where none is stated (UDP, or a system that does not measure it)."""
    streams = end.get("streams") if isinstance(end, dict) else None
    senders = [s.get("sender") for s in streams if isinstance(s, dict)] if isinstance(streams, list) else []
    found = [s.get("min_rtt") for s in senders if isinstance(s, dict)]
    positive = [value for value in found if isinstance(value, float) and 0 < value < 1e9]
    return min(positive) / _MICROSECONDS_PER_SECOND / 2 if positive else None
