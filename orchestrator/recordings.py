"""What a replay over recorded links says: how round latencies are spread, and at what rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
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


def recordings_for(
    plan: Plan, scenario: Scenario, folder: Path | None, *, absolute: bool, dealt_to: Sequence[str] | None = None
) -> dict[str, BandwidthTrace] | None:
    """Return the recordings that a plan's clients are replayed over; None where all links are constant.

    Parameters
    ----------
    plan, scenario
        The plan, and the scenario inside it.
    folder
        Folder of recordings to be dealt to the clients; those that the scenario names when None.
    absolute
        Whether recorded rates are the links' own, whatever the scenario says.
    dealt_to
        Whom the folder's recordings are dealt to, in order; the plan's clients when None.

    Raises
    ------
    ScenarioError
        If a recording cannot be read.
    """
    if folder is not None:
        from hybridsplit.runtime.replay.trace_files import assign_traces

        ids = [client.id for client in plan.clients]
        dealt = assign_traces(folder, ids if dealt_to is None else dealt_to, scenario.seed, absolute=absolute)
        return {client_id: dealt[client_id] for client_id in ids}
    if not any(group.link.trace for group in scenario.clients):
        return None
    from hybridsplit.runtime.replay.trace_files import scenario_traces

    named = scenario_traces(scenario, absolute=absolute)
    return {client.id: named[client.id] for client in plan.clients if client.id in named}


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


def mean_with_interval(values_s: Sequence[float], seed: int) -> LatencyFigure | None:
    """Return a mean of seconds with its 95 % interval by the bootstrap; None for fewer than two.

    Parameters
    ----------
    values_s
        One a round; they may be negative, as differences are.
    seed
        The run's seed.
    """
    if len(values_s) < 2:
        return None
    import numpy as np

    values = np.asarray(values_s)
    generator = np.random.default_rng(stream_seed(seed, "difference-bootstrap"))
    rows = max(1, int(4e6) // len(values))
    means = [
        values[generator.integers(0, len(values), (min(rows, _RESAMPLES - start), len(values)))].mean(axis=1)
        for start in range(0, _RESAMPLES, rows)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return LatencyFigure(seconds=float(values.mean()), low_s=float(low), high_s=float(high))


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
    recorded = _recorded(traces.values())
    if absolute or all(trace.is_absolute for trace in traces.values()):
        return f"traces of {recorded} on average; taken as they are"
    from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps

    links = {client.id: client.link for client in scenario.expanded_clients()}
    scaled = [c for c in plan.clients if c.id in traces and not traces[c.id].is_absolute]
    up = _range_of(uplink_rate_bps(links[c.id], scenario.radio, c.uplink_share) for c in scaled)
    down = _range_of(downlink_rate_bps(links[c.id], scenario.radio, c.downlink_share) for c in scaled)
    some = "" if len(scaled) == len(traces) else "those of relative use "
    return (
        f"traces of {recorded} on average, {some}scaled to the plan's own means (uplink {up}, downlink {down}): "
        "traces say when a link is good, the plan how good; --absolute takes their rates as they are"
    )


def _recorded(traces: Iterable[BandwidthTrace]) -> str:
    """Return the mean rates of recordings, by direction where these differ."""
    pairs = [(trace, trace.towards(up=True), trace.towards(up=False)) for trace in traces]
    one_for_both = [trace for trace, up, down in pairs if up is down and up is not None]
    apart = [(up, down) for _, up, down in pairs if up is not down]
    words = [_of_all(one_for_both)] if one_for_both else []
    for label, series in (("uplink", [up for up, _ in apart]), ("downlink", [down for _, down in apart])):
        if found := [trace for trace in series if trace is not None]:
            words.append(f"{label} {_of_all(found)}")
    return ", ".join(words)


def _of_all(traces: Iterable[BandwidthTrace]) -> str:
    """Return the range of means; of recorded indices, of their spectral efficiencies."""
    found = list(traces)
    rates = [trace.mean_bps for trace in found if not trace.is_per_hertz]
    efficiencies = sorted(trace.mean_bps for trace in found if trace.is_per_hertz)
    words = [_range_of(rates)] if rates else []
    if efficiencies:
        words.append(f"{efficiencies[0]:.3g} to {efficiencies[-1]:.3g} bit/s per Hz")
    return " and ".join(words)


def _range_of(rates_bps: Iterable[float]) -> str:
    found = sorted(rates_bps)
    low, high = found[0] / 1e6, found[-1] / 1e6
    return f"{low:.3g} Mbit/s" if low == high else f"{low:.3g} to {high:.3g} Mbit/s"
