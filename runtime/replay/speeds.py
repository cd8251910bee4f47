"""What a client would get done with a whole resource over time: constant, or by steps of a recording."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from hybridsplit.runtime.replay.traces import BandwidthTrace


class Held(NamedTuple):
    """A speed, and when it changes; infinity for never."""

    speed: float
    until_s: float


class Speed(Protocol):
    """A speed over time; asked for at times that do not fall."""

    def at(self, now_s: float) -> Held:
        """Return the speed at a time of the clock."""
        ...


class ConstantSpeed:
    """A speed that does not change.

    Parameters
    ----------
    speed
        Seconds of work a second, or bit/s.
    """

    __slots__ = ("_held",)

    def __init__(self, speed: float) -> None:
        self._held = Held(speed, math.inf)

    def at(self, now_s: float) -> Held:
        """Return the speed."""
        return self._held


@dataclass(frozen=True, eq=False)
class RecordedSteps:
    """The steps of a recording, scaled to a mean.

    Parameters
    ----------
    trace
        The recording.
    edges_s, rates_bps
        [S + 1] where its samples begin and end, and [S] the rate in each.
    """

    trace: BandwidthTrace
    edges_s: Sequence[float]
    rates_bps: Sequence[float]

    @classmethod
    def of(cls, trace: BandwidthTrace, mean_bps: float) -> RecordedSteps:
        """Scale a recording to a mean rate, bit/s."""
        edges_s = np.concatenate(([0.0], np.cumsum(trace.durations_s)))
        return cls(trace, edges_s.tolist(), (trace.relative * mean_bps).tolist())

    def begun(self, now_s: float, origin_s: float) -> RecordedSpeed:
        """Return the speed from a time on.

        Parameters
        ----------
        now_s, origin_s
            The time, and when the recording stands at its beginning.
        """
        return RecordedSpeed(self, now_s, origin_s)


class RecordedSpeed:
    """The speed along a recording, from a time on.

    Parameters
    ----------
    steps
        The recording.
    now_s, origin_s
        The time, and when the recording stands at its beginning.
    """

    __slots__ = ("_base_s", "_origin_s", "_sample", "_steps")

    def __init__(self, steps: RecordedSteps, now_s: float, origin_s: float) -> None:
        self._steps, self._origin_s = steps, origin_s
        position_s = now_s - origin_s + steps.trace.offset_s
        if steps.trace.past_the_end == "loop":
            position_s %= steps.edges_s[-1]
        self._base_s = now_s - position_s
        self._sample = min(bisect_right(steps.edges_s, position_s) - 1, len(steps.rates_bps) - 1)

    def at(self, now_s: float) -> Held:
        """Return the speed; what is due has come, whatever rounding does to the clock.

        Raises
        ------
        RunError
            If the recording has ended, must not repeat, and gives no rate to go on with.
        """
        edges_s, rates_bps = self._steps.edges_s, self._steps.rates_bps
        while (until_s := self._base_s + edges_s[self._sample + 1]) <= now_s:
            if self._sample + 1 < len(rates_bps):
                self._sample += 1
            elif self._steps.trace.past_the_end == "loop":
                self._base_s, self._sample = until_s, 0
            else:
                # Past the end the recording answers, or says what is wrong.
                self._steps.trace.transfer(1.0, max(now_s - self._origin_s, edges_s[-1] - self._steps.trace.offset_s))
                return Held(rates_bps[-1], math.inf)
        return Held(rates_bps[self._sample], until_s)
