"""A client's way through the levels of its ladder, step by step, by the memory there is on the replay's clock.

A part of a step's compute, before the exchange or after it, begins where the memory there is throughout that part is
enough; it takes a fraction of a second, and a device is taken to be told of its memory that far ahead. The exchange may
last longer and is not looked through: where memory shrinks in it, the client frees part of what it keeps and finishes
the step by a fall. Where nothing fits, it pauses, its state in storage, until something does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hybridsplit.runtime.replay.memory_trace import MemoryTrace
from hybridsplit.scenarios.contracts.jobs import BEFORE_EXCHANGE
from hybridsplit.scenarios.contracts.ladder import LadderLevel, StepMemory
from hybridsplit.scenarios.errors import RunError
from hybridsplit.scenarios.units import format_bytes


@dataclass(frozen=True, eq=False)
class Ladder:
    """What a client chooses from, and by what.

    Parameters
    ----------
    levels
        The fastest first, each leaner than the one before.
    trace
        Its memory, capped at its budget.
    scale
        How much longer than planned its device computes.
    exchanges
        Whether it waits for a server part within a step; a client with the whole model never falls.
    skips
        Whether it leaves the round where nothing fits, instead of waiting.
    """

    levels: Sequence[LadderLevel]
    trace: MemoryTrace
    scale: float = 1.0
    exchanges: bool = True
    skips: bool = False

    def before_s(self, level: LadderLevel) -> float:
        """Return the seconds of a step up to the exchange; of the whole step where there is none."""
        share = BEFORE_EXCHANGE if self.exchanges else 1.0
        return self.scale * level.step_s * share


class Part(NamedTuple):
    """A part of a step's compute: what it waits for memory first, and how long it takes then."""

    wait_s: float
    seconds: float


class _Way(NamedTuple):
    """A way to finish a step."""

    recompute: str
    peak_bytes: int
    seconds: float


class RoundMemory:
    """One round of a client on its ladder.

    Parameters
    ----------
    ladder
        Levels and memory.
    origin_s
        Clock at which its recording of memory stands at its beginning.
    client_id
        Whose, for messages.

    Attributes
    ----------
    steps
        How each step was taken.
    has_left
        Whether the client has left the round.
    """

    def __init__(self, ladder: Ladder, origin_s: float, client_id: str) -> None:
        self._ladder, self._origin_s, self._client_id = ladder, origin_s, client_id
        self._step = -1
        self._level = ladder.levels[0]
        self._sent_s = 0.0
        self.steps: list[StepMemory] = []
        self.has_left = False

    def next_part(self, step: int, now_s: float) -> Part | None:
        """Return the next part of a step's compute; None where the client leaves the round.

        Parameters
        ----------
        step
            Step of the round, from 0: the first part that is asked for is the one before the exchange.
        now_s
            The replay's clock.

        Raises
        ------
        RunError
            If there is never enough memory again.
        """
        if step != self._step:
            self._step = step
            return self._begin(now_s - self._origin_s)
        return self._finish(now_s - self._origin_s)

    def computed(self, now_s: float) -> None:
        """Note that a part is done: what the client keeps waits for the exchange from now on."""
        self._sent_s = now_s - self._origin_s

    def _begin(self, at_s: float) -> Part | None:
        ladder, trace = self._ladder, self._ladder.trace
        fitting = (
            level for level in ladder.levels if trace.least_within(at_s, ladder.before_s(level)) >= level.peak_bytes
        )
        level, wait_s = next(fitting, None), 0.0
        if level is None:
            if self._leaves():
                return None
            starts = [
                (trace.first_time(level.peak_bytes, at_s, ladder.before_s(level)), place)
                for place, level in enumerate(ladder.levels)
            ]
            start_s, place = min(starts)
            wait_s, level = self._waited(start_s - at_s, ladder.levels[-1].peak_bytes), ladder.levels[place]
        self._level = level
        seconds = ladder.before_s(level)
        budget_bytes = trace.least_within(at_s + wait_s, seconds)
        self.steps.append(StepMemory(level.recompute, budget_bytes, budget_bytes))
        return Part(wait_s, seconds)

    def _finish(self, at_s: float) -> Part | None:
        trace, level, scale = self._ladder.trace, self._level, self._ladder.scale
        before_s = self._ladder.before_s(level)
        if not self._ladder.exchanges:
            return Part(0.0, 0.0)
        since_bytes = trace.least_within(self._sent_s, at_s - self._sent_s)
        ways = [_Way(level.recompute, level.peak_bytes, scale * level.step_s - before_s)]
        ways += [_Way(fall.recompute, fall.peak_bytes, scale * fall.step_s - before_s) for fall in level.falls]
        for way in ways:
            budget_bytes = min(since_bytes, trace.least_within(at_s, way.seconds))
            if way.peak_bytes <= budget_bytes:
                self._note(way, budget_bytes)
                return Part(0.0, way.seconds)
        if self._leaves():
            return None
        # Paused: what is least to be held is what it goes on with.
        way = min(ways, key=lambda one: one.peak_bytes)
        start_s = trace.first_time(way.peak_bytes, at_s, way.seconds)
        wait_s = self._waited(start_s - at_s, way.peak_bytes)
        self._note(way, trace.least_within(start_s, way.seconds))
        return Part(wait_s, way.seconds)

    def _note(self, way: _Way, budget_bytes: int) -> None:
        self.steps[-1] = StepMemory(way.recompute, self.steps[-1].before_bytes, budget_bytes)

    def _leaves(self) -> bool:
        self.has_left = self._ladder.skips
        return self.has_left

    def _waited(self, wait_s: float, needed_bytes: int) -> float:
        if math.isfinite(wait_s):
            return wait_s
        raise RunError(
            f"client {self._client_id}: needs {format_bytes(needed_bytes)} for long enough to go on, which "
            f"{self._ladder.trace} never gives again; needs a recording with more memory, below_floor: skip, or "
            "another option for the client: make the plan again"
        )
