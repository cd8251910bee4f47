"""Windows of a recording: where in it each round of a replay begins.

Rounds that follow one another through a recording that repeats are not samples of it: clients meet at a barrier, so
that rounds lock on the period, and whatever is played from the start is always played from the same start. A round is a
sample when its start is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.streams import stream_seed

_PARTS = 10


class Recorded(Protocol):
    """What windows are drawn of."""

    @property
    def duration_s(self) -> float:
        """Length of one period, s."""
        ...


def draw_windows(
    traces: Mapping[str, Recorded], seed: int, num_rounds: int, stream: str = "trace-windows"
) -> dict[str, tuple[float, ...]]:
    """Draw, for every client and round, the point of the client's recording that the round begins at, s.

    Parameters
    ----------
    traces
        Recordings by client.
    seed
        The run's seed. Every client draws from a stream of its own, so that no client's windows depend on who else is
        there, and more rounds begin with the same ones.
    num_rounds
        Rounds.
    stream
        Name of the streams: links and memory draw from different ones.
    """
    drawn: dict[str, tuple[float, ...]] = {}
    for client, trace in traces.items():
        generator = np.random.default_rng(stream_seed(seed, stream, client))
        drawn[client] = tuple((generator.random(num_rounds) * trace.duration_s).tolist())
    return drawn


def planning_and_judging_windows(
    traces: Mapping[str, BandwidthTrace], seed: int, num_rounds: int
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]:
    """Draw windows that plans may be chosen by, and as many to judge the choice by.

    A recording is cut into tenths; the first windows begin in every other tenth from the first one on, the others in
    the rest, so that neither misses what the recording does late. A round that is longer than a tenth runs on into the
    next one.

    Parameters
    ----------
    traces, seed, num_rounds
        As of :func:`draw_windows`; the streams are others, so that neither are the windows of a replay.
    """
    both: tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]] = ({}, {})
    for client, trace in traces.items():
        for which, (purpose, drawn) in enumerate(zip(("planning", "judging"), both, strict=True)):
            generator = np.random.default_rng(stream_seed(seed, "trace-windows", purpose, client))
            draws = generator.random((num_rounds, 2))
            part = 2 * np.floor(draws[:, 0] * (_PARTS // 2)) + which
            drawn[client] = tuple(((part + draws[:, 1]) * (trace.duration_s / _PARTS)).tolist())
    return both


def planning_starts(number: int) -> NDArray[np.float64]:
    """Return points of a recording, as fractions of it, evenly over the tenths that plans may be chosen by.

    Parameters
    ----------
    number
        How many, M.

    Returns
    -------
    [M] rising.
    """
    parts = _PARTS // 2
    inside = np.arange(number) * parts / number
    return (2 * np.floor(inside) + inside % 1.0) / _PARTS


def distinct_windows(recorded: Iterable[Recorded], round_latency_s: float) -> int:
    """Return how many rounds the shortest recording holds without overlap; at least 1.

    Parameters
    ----------
    recorded
        The recordings.
    round_latency_s
        Mean latency of a round.
    """
    shortest_s = min(one.duration_s for one in recorded)
    return max(1, int(shortest_s / round_latency_s)) if round_latency_s > 0 else 1
