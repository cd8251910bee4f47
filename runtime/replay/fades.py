"""When a recorded link is in a fade, and what it carries between two times."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hybridsplit.runtime.replay.kernels.links import FadeChanges, carried_until, fade_at
from hybridsplit.runtime.replay.traces import BandwidthTrace


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
        self._trace, self._mean_bps = trace, trace.mean_bps
        is_fade = trace.rates_bps < below * trace.mean_bps
        changes = np.flatnonzero(is_fade != np.roll(is_fade, 1))
        edges_s = np.array(trace.sums.edges_s)
        self.changes = FadeChanges(edges_s[changes].tolist(), [bool(is_fade[0]), *is_fade[changes].tolist()])
        """When it fades and when that ends."""
        self._place = replace(trace.place, num_changes=len(changes))

    def at(self, time_s: float) -> tuple[bool, float]:
        """Return whether there is a fade at a time, and when that changes; never is infinity."""
        trace = self._trace
        return fade_at(self.changes, trace.duration_s, self._place, time_s)

    def carried(self, start_s: float, end_s: float, mean_bps: float | None) -> Carried:
        """Return what is carried between two times.

        Parameters
        ----------
        start_s, end_s
            On the replay's clock.
        mean_bps
            Mean rate of the link; the recorded one when None.
        """
        sums, place = self._trace.sums, self._trace.place
        (begun_bits, begun_s), (ended_bits, ended_s) = (
            carried_until(sums, place, time_s) for time_s in (start_s, end_s)
        )
        scale = 1.0 if mean_bps is None else mean_bps / self._mean_bps
        return Carried(max(0.0, ended_bits - begun_bits) * scale, max(0.0, ended_s - begun_s))
