"""Recorded links as flat vectors, each recording once however many clients hear it."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay.kernels.links import FadeChanges, Links, RunningSums
from hybridsplit.scenarios.compiled.compiling import Form

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace


class PackedLinks:
    """The links that clients hear, by number.

    Parameters
    ----------
    fade_below
        What is a fade, as a fraction of the mean rate; None where nobody asks.
    """

    def __init__(self, fade_below: float | None = None) -> None:
        self._fade_below = fade_below
        self._number: dict[int, int] = {}
        self._traces: list[BandwidthTrace] = []

    def __len__(self) -> int:
        return len(self._traces)

    def number(self, trace: BandwidthTrace) -> int:
        """Return the number of a link, which it gets when it is asked for first."""
        found = self._number.get(id(trace))
        if found is None:
            found = self._number[id(trace)] = len(self._traces)
            self._traces.append(trace)
        return found

    def trace(self, number: int) -> BandwidthTrace:
        """Return a link by its number."""
        return self._traces[number]

    def vectors(self, form: Form) -> Links:
        """Return all links as vectors of a form."""
        return form.vectors(self.lists())

    def lists(self) -> Links:
        """Return all links as lists."""
        recordings: dict[int, BandwidthTrace] = {}
        for trace in self._traces:
            recordings.setdefault(id(trace.sums), trace)
        changes = [self._changes(trace) for trace in recordings.values()]
        first, first_change, num_changes = dict[int, int](), dict[int, int](), dict[int, int]()
        at, at_change = 0, 0
        for key, trace, own in zip(recordings, recordings.values(), changes, strict=True):
            first[key], first_change[key], num_changes[key] = at, at_change, len(own.changes_s)
            at, at_change = at + len(trace.sums.edges_s), at_change + len(own.changes_s)
        shift = {key: place for place, key in enumerate(recordings)}
        sums = zip(*(trace.sums for trace in recordings.values()), strict=True)
        keys = [id(trace.sums) for trace in self._traces]
        return Links(
            RunningSums(*([*chain.from_iterable(parts)] for parts in sums)) if recordings else RunningSums(*_NONE),
            [*chain.from_iterable(_latency_s(trace) for trace in recordings.values())],
            FadeChanges(
                [*chain.from_iterable(own.changes_s for own in changes)],
                [*chain.from_iterable(own.is_fade for own in changes)],
            ),
            [
                replace(
                    trace.place, first=first[key], last=first[key] + trace.place.last, first_change=first_change[key],
                    num_changes=num_changes[key], shift=shift[key],
                )
                for key, trace in zip(keys, self._traces, strict=True)
            ],
        )  # fmt: skip

    def _changes(self, trace: BandwidthTrace) -> FadeChanges:
        if self._fade_below is None:
            return FadeChanges([], [False])
        from hybridsplit.runtime.replay.fades import Fades  # late: constant links need no NumPy

        return Fades(trace, self._fade_below).changes


_NONE: tuple[list[float], ...] = ([], [], [], [], [])


def _latency_s(trace: BandwidthTrace) -> list[float]:
    """Return the delay of each sample, and zeros where it is not known; one zero stands after the last."""
    if trace.latency_s is None:
        return [0.0] * len(trace.sums.edges_s)
    return [*trace.latency_s.tolist(), 0.0]
