"""Recorded bandwidth over time, and when a transfer over it is done.

A trace repeats periodically, unless it is to hold its last rate or to fail. A transfer is answered in one step, by
inverting the cumulative sum of the bits, so its cost does not depend on how many samples or periods it lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hybridsplit.runtime.replay.kernels.links import Place, RunningSums, sample_at, time_transfer
from hybridsplit.runtime.replay.transfer import Transfer
from hybridsplit.scenarios.errors import RunError, ScenarioError, UsageError
from hybridsplit.scenarios.sections.traces import PastTheEnd
from hybridsplit.scenarios.units import format_seconds

FloatArray = NDArray[np.float64]

_SMALLEST, _LARGEST = 1e-9, 1e18
"""Seconds and bit/s beyond these are no measurement, and sums of them lose all digits."""


@dataclass(frozen=True, eq=False)
class BandwidthTrace:
    """A piecewise constant rate, and delay, that repeats.

    Parameters
    ----------
    durations_s
        [S] length of each sample; lengths may differ, a sample of length zero is dropped.
    rates_bps
        [S] rate during each sample; may be zero, but not always.
    name
        Where the trace comes from, for messages.
    offset_s
        Point of the period that the replay's clock 0 falls on.
    latency_s
        [S] delay of one crossing of the link during each sample; None where it is not known.
    past_the_end
        What comes after the last sample: the first one again, the last one's rate for ever, or an error.
    is_per_hertz
        Whether rates are spectral efficiencies, bit/s per Hz, which say when a link is good and not how good.

    Raises
    ------
    ScenarioError
        If the arrays are empty, differ in length, hold a value that is negative or not finite, or if the trace carries
        no bits at all, so that no transfer would ever finish.
    """

    durations_s: FloatArray
    rates_bps: FloatArray
    name: str = "trace"
    offset_s: float = 0.0
    latency_s: FloatArray | None = None
    past_the_end: PastTheEnd = "loop"
    is_per_hertz: bool = False
    sums: RunningSums = field(init=False, repr=False)
    """The samples as running sums; what is shifted shares them."""
    place: Place = field(init=False, repr=False)
    """Where the recording stands in these sums: alone."""

    def __post_init__(self) -> None:
        durations_s = np.array(self.durations_s, dtype=np.float64).ravel()
        rates_bps = np.array(self.rates_bps, dtype=np.float64).ravel()
        check_samples(durations_s, rates_bps, self.name)
        kept = durations_s > 0
        durations_s, rates_bps = durations_s[kept], rates_bps[kept]
        derived = {
            "durations_s": durations_s,
            "rates_bps": rates_bps,
            "latency_s": None if self.latency_s is None else _checked_latency(self.latency_s, kept, self.name),
        }
        for name, array in derived.items():
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "sums", _sums(durations_s, rates_bps))
        object.__setattr__(self, "place", self._place_at(self.offset_s))
        sent_bits = self.sums.sent_bits[-1]
        if not (math.isfinite(sent_bits) and sent_bits > 0):
            raise ScenarioError(
                f"{self.name}: the trace carries {sent_bits} bits over its {self.duration_s:g} s; needs a "
                "rate above zero somewhere, else no transfer over it would ever finish: choose another trace"
            )

    @property
    def duration_s(self) -> float:
        """Length of one period, s."""
        return self.sums.edges_s[-1]

    @property
    def mean_bps(self) -> float:
        """Time-weighted mean rate, bit/s."""
        return self.sums.sent_bits[-1] / self.sums.edges_s[-1]

    @property
    def outage_fraction(self) -> float:
        """Share of the time at rate zero."""
        return self.sums.outage_s[-1] / self.duration_s

    @property
    def relative(self) -> FloatArray:
        """[S] rate of each sample over the time-weighted mean, without a unit: what modulates a planned rate."""
        return self.rates_bps / self.mean_bps

    def shifted(self, by_s: float) -> Self:
        """Return the same trace with the clock 0 at a later point of the period.

        Parameters
        ----------
        by_s
            How much later, s.
        """
        return self.at_offset(self.offset_s + by_s)

    def at_offset(self, offset_s: float) -> Self:
        """Return the same trace with the clock 0 at a point of the period; it shares the sums of the samples.

        Parameters
        ----------
        offset_s
            The point, s.
        """
        found = copy(self)
        object.__setattr__(found, "offset_s", offset_s)
        object.__setattr__(found, "place", found._place_at(offset_s))
        return found

    def _place_at(self, offset_s: float) -> Place:
        if not math.isfinite(offset_s):
            raise ScenarioError(f"{self.name}: found an offset of {offset_s} s; needs a finite number of seconds")
        repeats, holds = self.past_the_end == "loop", self.past_the_end == "hold"
        return Place(0, len(self.rates_bps), offset_s, repeats, holds)

    def towards(self, *, up: bool) -> BandwidthTrace | None:
        """Return what transfers in one direction go by: a trace of its own in neither, None where there is none.

        Parameters
        ----------
        up
            Whether from the device to the server.
        """
        return self

    @property
    def is_absolute(self) -> bool:
        """Whether rates are the link's own, whatever the plan gives it."""
        return False

    def delay_s(self, time_s: float) -> float | None:
        """Return the delay of one crossing at a time of the replay's clock; None where it is not known."""
        if self.latency_s is None:
            return None
        return float(self.latency_s[sample_at(self.sums.edges_s, self.place, time_s)])

    def between(self, start_s: float, end_s: float) -> tuple[FloatArray, FloatArray]:
        """Return the rate over a stretch of the replay's clock.

        Parameters
        ----------
        start_s, end_s
            The stretch, s.

        Returns
        -------
        [M + 1] times at which the rate changes, from the start to the end, s; and [M] rates between them, bit/s. Past
        the end of a recording that does not repeat, its last rate.
        """
        first_s, last_s = start_s + self.offset_s, end_s + self.offset_s
        edges_s = np.array(self.sums.edges_s[:-1])
        if self.past_the_end == "loop":
            periods = np.arange(math.floor(first_s / self.duration_s), math.floor(last_s / self.duration_s) + 1)
            begins_s = (periods[:, None] * self.duration_s + edges_s).ravel()
            rates_bps = np.tile(self.rates_bps, len(periods))
        else:
            begins_s, rates_bps = edges_s, self.rates_bps
        chosen = np.flatnonzero((begins_s > first_s) & (begins_s < last_s))
        before = max(0, int(np.searchsorted(begins_s, first_s, side="right")) - 1)
        changes_s = np.concatenate(([start_s], begins_s[chosen] - self.offset_s, [end_s]))
        return changes_s, rates_bps[np.concatenate(([before], chosen))]

    def transfer(self, size_bits: float, start_s: float, mean_bps: float | None = None) -> Transfer:
        """Time a transfer takes.

        Parameters
        ----------
        size_bits
            What has to be carried.
        start_s
            When it starts, on the replay's clock.
        mean_bps
            The mean rate of the link: the trace is scaled to it, so it says *when* the link is good and the plan says
            how good it is on average. The recorded rates are used as they are when None.

        Returns
        -------
        Transfer
            Elapsed time, and how much of it the rate was zero. Nothing to carry takes no time. A transfer ends when its
            last bit is through, hence never inside or behind an outage that follows.

        Raises
        ------
        UsageError
            If a size or the start is negative or not finite, or the mean rate is not above zero.
        RunError
            If the trace does not repeat, and ends before the transfer in a way that gives it no end.
        """
        if not (0 <= size_bits < math.inf and 0 <= start_s < math.inf):
            raise UsageError(f"found {size_bits} bits from {start_s} s on; needs finite numbers that are not negative")
        if mean_bps is not None and not 0 < mean_bps < math.inf:
            raise UsageError(f"found a mean rate of {mean_bps} bit/s; needs a finite number above zero")
        if size_bits == 0:
            return Transfer(0.0, 0.0)
        needed_bits = size_bits if mean_bps is None else size_bits * (self.mean_bps / mean_bps)
        if math.isinf(needed_bits):
            raise UsageError(f"found {size_bits} bits at a mean rate of {mean_bps} bit/s; that never ends")
        elapsed_s, waiting_s = time_transfer(self.sums, self.place, needed_bits, start_s)
        if math.isnan(elapsed_s):
            raise self._ended()
        return Transfer(elapsed_s, waiting_s)

    def _ended(self) -> RunError:
        why = "at rate zero, which would be held for ever" if self.past_the_end == "hold" else "and must not repeat"
        return RunError(
            f"{self.name}: the recording ends after {format_seconds(self.duration_s)} {why}, and a transfer goes on "
            "past that (past_the_end); needs a longer recording, fewer rounds played in order (--in-order), or "
            "past_the_end: loop"
        )


def _sums(durations_s: FloatArray, rates_bps: FloatArray) -> RunningSums:
    outage_s = np.where(rates_bps == 0, durations_s, 0.0)
    served_s = np.where(rates_bps > 0, durations_s, 0.0)
    sums = (running_sum(values) for values in (durations_s, durations_s * rates_bps, outage_s, served_s))
    return RunningSums(*(array.tolist() for array in (*sums, np.append(rates_bps, 0.0))))


def running_sum(values: FloatArray) -> FloatArray:
    """Return [S + 1] sums of the first 0, 1, ... S of [S] values."""
    return np.concatenate(([0.0], np.cumsum(values)))


def _checked_latency(latency_s: FloatArray, kept: NDArray[np.bool_], name: str) -> FloatArray:
    values = np.array(latency_s, dtype=np.float64).ravel()
    if len(values) != len(kept) or not ((values >= 0) & (values <= _LARGEST)).all():
        raise ScenarioError(
            f"{name}: found {len(values)} latencies for {len(kept)} samples, or one that is negative or not finite; "
            "needs one number of seconds for each sample"
        )
    return values[kept]


def check_samples(
    durations_s: FloatArray,
    rates_bps: FloatArray,
    name: str,
    place_of: Callable[[int], str] = lambda index: f"sample {index + 1}",
) -> None:
    """Check that samples are a recording that can be computed with.

    Parameters
    ----------
    durations_s, rates_bps
        [S] length and rate of each sample.
    name
        Where they come from, for messages.
    place_of
        Where the sample at an index stands, for messages.

    Raises
    ------
    ScenarioError
        If the arrays are empty or differ in length, or hold a value that is negative, not finite, or too small or large
        to be a measurement; or if all lengths are zero.
    """
    if len(durations_s) == 0 or len(durations_s) != len(rates_bps):
        raise ScenarioError(
            f"{name}: found {len(durations_s)} sample lengths and {len(rates_bps)} rates; needs as many of one as of "
            "the other, and at least one"
        )
    for what, unit, values in (("length", "s", durations_s), ("rate", "bit/s", rates_bps)):
        bad = ~((values == 0) | ((values >= _SMALLEST) & (values <= _LARGEST)))
        if bad.any():
            index = int(np.argmax(bad))
            raise ScenarioError(
                f"{name}: {place_of(index)} has a {what} of {values[index]} {unit}; needs zero, or a number from "
                f"{_SMALLEST:g} to {_LARGEST:g}: the recording is damaged there, repair or remove that sample"
            )
    if not durations_s.sum() > 0:
        raise ScenarioError(f"{name}: all samples have length zero; needs a recording that lasts some time")
