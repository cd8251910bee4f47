"""When a recorded link is in a fade, and what it carries between two times."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from hybridsplit.runtime.replay.traces import BandwidthTrace, running_sum


class Carried(NamedTuple):
    """Bits that were carried, and the seconds in which any were."""

    bits: float
    served_s: float


class Fades:
    """The fades of a recording: samples below a fraction of its mean rate.

    Parameters
    ----------
    trace
        The recording.
    below
        The fraction.
    """

    def __init__(self, trace: BandwidthTrace, below: float) -> None:
        self._period_s, self._offset_s, self._mean_bps = trace.duration_s, trace.offset_s, trace.mean_bps
        self._repeats = trace.past_the_end == "loop"
        self._last_bps = float(trace.rates_bps[-1])
        self._edges_s = running_sum(trace.durations_s)
        self._sent_bits = running_sum(trace.durations_s * trace.rates_bps)
        self._served_s = running_sum(np.where(trace.rates_bps > 0, trace.durations_s, 0.0))
        is_fade = trace.rates_bps < below * trace.mean_bps
        changes = np.flatnonzero(is_fade != np.roll(is_fade, 1))
        self._changes_s: list[float] = self._edges_s[changes].tolist()
        self._is_fade: list[bool] = [bool(is_fade[0]), *is_fade[changes].tolist()]
        """Before the first change, and after each."""

    def at(self, time_s: float) -> tuple[bool, float]:
        """Return whether there is a fade at a time, and when that changes; never is infinity."""
        periods, position_s = self._position(time_s)
        changes_s = self._changes_s
        following = bisect_right(changes_s, position_s)
        if following < len(changes_s):
            change_s = changes_s[following]
        elif changes_s and self._repeats:
            change_s = self._period_s + changes_s[0]
        else:
            return self._is_fade[following], math.inf
        return self._is_fade[following], periods * self._period_s + change_s - self._offset_s

    def carried(self, start_s: float, end_s: float, mean_bps: float | None) -> Carried:
        """Return what is carried between two times.

        Parameters
        ----------
        start_s, end_s
            On the replay's clock.
        mean_bps
            Mean rate of the link; the recorded one when None.
        """
        begun, ended = self._until(start_s), self._until(end_s)
        scale = 1.0 if mean_bps is None else mean_bps / self._mean_bps
        return Carried(max(0.0, ended.bits - begun.bits) * scale, max(0.0, ended.served_s - begun.served_s))

    def _until(self, time_s: float) -> Carried:
        periods, position_s = self._position(time_s)
        bits, served_s = (
            periods * float(total[-1]) + float(np.interp(position_s, self._edges_s, total))
            for total in (self._sent_bits, self._served_s)
        )
        held_s = max(0.0, position_s - self._period_s)
        return Carried(bits + held_s * self._last_bps, served_s + (held_s if self._last_bps > 0 else 0.0))

    def _position(self, time_s: float) -> tuple[float, float]:
        """Return whole periods and the point within one; past the end, where the recording does not repeat."""
        position_s = time_s + self._offset_s
        return divmod(position_s, self._period_s) if self._repeats else (0.0, position_s)
