"""Memory that training may use over time: what fits from when on, and for how long."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from hybridsplit.scenarios.errors import RunError, ScenarioError
from hybridsplit.scenarios.sections.traces import PastTheEnd
from hybridsplit.scenarios.units import format_bytes, format_seconds

_SHORTEST_S, _LONGEST_S = 1e-9, 1e12


@dataclass(frozen=True, eq=False)
class MemoryTrace:
    """A piecewise constant amount of memory.

    Parameters
    ----------
    durations_s
        [S] length of each sample; one of length zero is dropped.
    budget_bytes
        [S] memory during each sample.
    name
        Where it comes from, for messages.
    past_the_end
        What comes after the last sample: the first one again, the last one's memory for ever, or an error.

    Raises
    ------
    ScenarioError
        If the lists are empty, differ in length, or hold what is no measurement.
    """

    durations_s: tuple[float, ...]
    budget_bytes: tuple[int, ...]
    name: str = "memory trace"
    past_the_end: PastTheEnd = "loop"
    _edges_s: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.durations_s) != len(self.budget_bytes):
            raise ScenarioError(
                f"{self.name}: found {len(self.durations_s)} lengths and {len(self.budget_bytes)} amounts of memory; "
                "needs as many of one as of the other"
            )
        for number, (seconds, size) in enumerate(zip(self.durations_s, self.budget_bytes, strict=True), start=1):
            if not (seconds == 0 or _SHORTEST_S <= seconds <= _LONGEST_S) or not 0 <= size < 2**63:
                raise ScenarioError(
                    f"{self.name}: sample {number} has {size} bytes for {seconds} s; needs a length of at least 1 ns "
                    "and an amount of memory: repair or remove that sample"
                )
        kept = [(s, b) for s, b in zip(self.durations_s, self.budget_bytes, strict=True) if s > 0]
        if not kept:
            raise ScenarioError(f"{self.name}: found no sample that lasts some time; needs a recording")
        object.__setattr__(self, "durations_s", tuple(seconds for seconds, _ in kept))
        object.__setattr__(self, "budget_bytes", tuple(size for _, size in kept))
        object.__setattr__(self, "_edges_s", (0.0, *accumulate(self.durations_s)))

    @property
    def duration_s(self) -> float:
        """Length of one period, s."""
        return self._edges_s[-1]

    @property
    def least_bytes(self) -> int:
        """Least memory at any time."""
        return min(self.budget_bytes)

    @property
    def most_bytes(self) -> int:
        """Most memory at any time."""
        return max(self.budget_bytes)

    def capped(self, cap_bytes: int) -> MemoryTrace:
        """Return the trace with no more than so much memory at any time.

        Parameters
        ----------
        cap_bytes
            The most.
        """
        capped = tuple(min(size, cap_bytes) for size in self.budget_bytes)
        return MemoryTrace(self.durations_s, capped, self.name, self.past_the_end)

    def least_within(self, start_s: float, length_s: float) -> int:
        """Return the least memory from a time on for a while.

        Parameters
        ----------
        start_s
            Time, from the beginning of the trace.
        length_s
            How long; of no time at all the memory at the start is returned.

        Raises
        ------
        RunError
            If the trace must not repeat and ends before.
        """
        end_s, least = start_s + length_s, None
        for _, sample_ends_s, size in self._samples_from(start_s):
            least = size if least is None else min(least, size)
            if sample_ends_s >= end_s or (least == self.least_bytes and self.past_the_end != "fail"):
                break
        assert least is not None
        return least

    def first_time(self, needed_bytes: int, start_s: float, length_s: float) -> float:
        """Return from when on there is so much memory for so long.

        Parameters
        ----------
        needed_bytes
            How much.
        start_s
            The earliest time that counts.
        length_s
            For how long without a break.

        Returns
        -------
        The time; infinite where it never comes.

        Raises
        ------
        RunError
            If the trace must not repeat and ends before.
        """
        since_s: float | None = None
        for begins_s, ends_s, size in self._samples_from(start_s):
            if size >= needed_bytes:
                since_s = begins_s if since_s is None else since_s
                if ends_s - since_s >= length_s:
                    return since_s
            else:
                since_s = None
            # What has not come within two periods never comes.
            if begins_s > start_s + 2 * self.duration_s + length_s:
                return math.inf
        return math.inf

    def below_s(self, needed_bytes: int) -> list[float]:
        """Return the lengths of the times with less memory than needed, one period long at most, s.

        Parameters
        ----------
        needed_bytes
            What is needed.
        """
        lengths: list[float] = []
        is_below = [size < needed_bytes for size in self.budget_bytes]
        if all(is_below):
            return [self.duration_s]
        # Begin behind a sample that has enough, so that a time over the seam is one.
        first = is_below.index(False)
        order = [*range(first, len(is_below)), *range(first)]
        for before, here in pairwise([first, *order]):
            if is_below[here]:
                if is_below[before]:
                    lengths[-1] += self.durations_s[here]
                else:
                    lengths.append(self.durations_s[here])
        return lengths

    def _samples_from(self, start_s: float) -> Iterator[tuple[float, float, int]]:
        """Yield (begins, ends, bytes) of the samples from a time on, the first cut to begin then."""
        period_s, loops = self.duration_s, self.past_the_end == "loop"
        periods = math.floor(start_s / period_s) if loops else 0
        base_s = periods * period_s
        place = max(bisect_right(self._edges_s, start_s - base_s) - 1, 0)
        begins_s = start_s
        while True:
            if place >= len(self.budget_bytes):
                if self.past_the_end == "hold":
                    yield begins_s, math.inf, self.budget_bytes[-1]
                    return
                if not loops:
                    raise RunError(
                        f"{self.name}: the recording ends after {format_seconds(period_s)} and must not repeat, and a "
                        "round goes on past that (past_the_end); needs a longer recording, or past_the_end: loop"
                    )
                place, base_s = 0, base_s + period_s
            ends_s = base_s + self._edges_s[place + 1]
            if ends_s > begins_s:
                yield begins_s, ends_s, self.budget_bytes[place]
                begins_s = ends_s
            place += 1

    def __str__(self) -> str:
        """Return what it spans."""
        return (
            f"{self.name}: {format_bytes(self.least_bytes)} to {format_bytes(self.most_bytes)} over "
            f"{format_seconds(self.duration_s)}"
        )
