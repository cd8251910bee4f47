"""What a replay over recorded links says: how round latencies are spread, and at what rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hybridsplit.scenarios.contracts.summary import LatencyFigure, RoundLatencies
from hybridsplit.scenarios.streams import stream_seed
from hybridsplit.scenarios.units import format_seconds

if TYPE_CHECKING:
    from hybridsplit.runtime.replay.traces import BandwidthTrace
    from hybridsplit.scenarios.contracts.plan import Plan
    from hybridsplit.scenarios.schema import Scenario

_RESAMPLES = 2000
_CONFIDENCE = 0.95


def spread(latencies_s: Sequence[float], distinct_windows: int, seed: int) -> RoundLatencies | None:
    """Return mean and quantiles of round latencies, with bootstrap intervals (Efron, 1979; percentile method).

    Parameters
    ----------
    latencies_s
        Of every round.
    distinct_windows
        Rounds that the shortest recording holds without overlap.
    seed
        The run's seed.

    Returns
    -------
    None for fewer than two rounds.
    """
    if len(latencies_s) < 2:
        return None
    import numpy as np

    values = np.asarray(latencies_s)
    generator = np.random.default_rng(stream_seed(seed, "latency-bootstrap"))
    # One row a resample, in pieces so that many rounds do not need memory for all rows at once.
    rows = max(1, int(4e6) // len(values))
    means, quantiles = [], []
    shares = [0.5, 0.9, 0.95, 0.99]
    for start in range(0, _RESAMPLES, rows):
        drawn = values[generator.integers(0, len(values), (min(rows, _RESAMPLES - start), len(values)))]
        means.append(drawn.mean(axis=1))
        quantiles.append(np.quantile(drawn, shares, axis=1))
    tails = [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2]
    resampled = [np.concatenate(means), *np.concatenate(quantiles, axis=1)]
    found = [float(values.mean()), *np.quantile(values, shares).tolist()]
    mean, p50, p90, p95, p99 = (
        LatencyFigure(seconds=value, low_s=float(low), high_s=float(high))
        for value, (low, high) in zip(found, (np.quantile(one, tails) for one in resampled), strict=True)
    )
    return RoundLatencies(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99, distinct_windows=distinct_windows)


def latencies_line(latencies: RoundLatencies, num_rounds: int) -> str:
    """Return the spread in one line, intervals in brackets."""
    named = ((name, getattr(latencies, name)) for name in ("mean", "p50", "p90", "p95", "p99"))
    figures = ", ".join(
        f"{name} {format_seconds(one.seconds)} [{format_seconds(one.low_s)}, {format_seconds(one.high_s)}]"
        for name, one in named
    )
    few = latencies.distinct_windows < num_rounds
    overlap = "; they overlap, so the intervals are too narrow" if few else ""
    return (
        f"a round over the recordings: {figures} (95 % intervals); {num_rounds} windows drawn, "
        f"{latencies.distinct_windows} without overlap in the shortest recording{overlap}"
    )


def rates_line(plan: Plan, scenario: Scenario, traces: Mapping[str, BandwidthTrace], *, absolute: bool) -> str:
    """Return in one line at what mean rates the recordings were made, and what became of them.

    Parameters
    ----------
    plan, scenario, traces
        The plan, its scenario, and the recordings of its clients.
    absolute
        Whether the recordings' rates are those of the links.
    """
    recorded = _range_of(trace.mean_bps for trace in traces.values())
    if absolute:
        return f"recorded at {recorded} on average; taken as they are, in both directions"
    from hybridsplit.runtime.replay.links import uplink_rate_bps

    links = {client.id: client.link for client in scenario.expanded_clients()}
    planned = _range_of(uplink_rate_bps(links[c.id], scenario.radio, c.uplink_share) for c in plan.clients)
    return (
        f"recorded at {recorded} on average, scaled to the plan's own means (uplink {planned}): recordings say when a "
        "link is good, the plan how good; --absolute takes recorded rates as they are"
    )


def _range_of(rates_bps: Iterable[float]) -> str:
    found = sorted(rates_bps)
    low, high = found[0] / 1e6, found[-1] / 1e6
    return f"{low:.3g} Mbit/s" if low == high else f"{low:.3g} to {high:.3g} Mbit/s"
