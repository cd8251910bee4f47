"""Windows of a recording: where in it each round of a replay begins.

Rounds that follow one another through a recording that repeats are not samples of it: clients meet at a barrier, so
that rounds lock on the period, and whatever is played from the start is always played from the same start. A round is a
sample when its start is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.scenarios.streams import stream_seed


def draw_windows(traces: Mapping[str, BandwidthTrace], seed: int, num_rounds: int) -> dict[str, tuple[float, ...]]:
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
    """
    drawn: dict[str, tuple[float, ...]] = {}
    for client, trace in traces.items():
        generator = np.random.default_rng(stream_seed(seed, "trace-windows", client))
        drawn[client] = tuple((generator.random(num_rounds) * trace.duration_s).tolist())
    return drawn


def distinct_windows(traces: Mapping[str, BandwidthTrace], round_latency_s: float) -> int:
    """Return how many rounds the shortest recording holds without overlap; at least 1.

    Parameters
    ----------
    traces
        Recordings by client.
    round_latency_s
        Mean latency of a round.
    """
    shortest_s = min(trace.duration_s for trace in traces.values())
    return max(1, int(shortest_s / round_latency_s)) if round_latency_s > 0 else 1
