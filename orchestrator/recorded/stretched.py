"""How much longer than planned a client's transfers take over its recording, and plans that know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from hybridsplit.orchestrator.recorded.rounds import FloatArray
from hybridsplit.runtime.replay.links import downlink_rate_bps, uplink_rate_bps
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.runtime.replay.windows import planning_starts
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Dispatch
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.units import bits

_STARTS = 64
"""Points of a recording at which transfers begin, evenly over the tenths that plans may be chosen by."""
_UP = ("uplink_bytes", "model_upload_bytes", "head_gradient_bytes")
_DOWN = ("downlink_bytes", "model_download_bytes", "head_features_bytes")


def stretches(scenario: Scenario, plan: Plan, traces: Mapping[str, BandwidthTrace]) -> dict[str, FloatArray]:
    """Return, by client with a recording, how many times the planned seconds its transfers take.

    Parameters
    ----------
    scenario, plan
        The scenario, and a plan whose transfers are timed.
    traces
        Recordings by client.

    Returns
    -------
    [2, 64] up and down, for starts in the parts of the recording that plans may be chosen by.
    """
    links = {client.id: client.link for client in scenario.expanded_clients()}
    found = {}
    for client in plan.clients:
        trace = traces.get(client.id)
        if trace is None:
            continue
        link, radio = links[client.id], scenario.radio
        both = (
            (client.uplink_bytes, uplink_rate_bps(link, radio, 1.0), trace.towards(up=True)),
            (client.downlink_bytes, downlink_rate_bps(link, radio, 1.0), trace.towards(up=False)),
        )
        found[client.id] = np.stack([_stretch(size, rate_bps, own) for size, rate_bps, own in both])
    return found


def _stretch(num_bytes: int, rate_bps: float, trace: BandwidthTrace | None) -> FloatArray:
    if trace is None or num_bytes == 0 or not rate_bps > 0:
        return np.ones(_STARTS)
    size_bits = float(bits(num_bytes))
    mean_bps = None if trace.is_absolute else rate_bps
    starts_s = planning_starts(_STARTS) * trace.duration_s
    planned_s = size_bits / rate_bps
    return np.array([trace.transfer(size_bits, float(start), mean_bps).elapsed_s / planned_s for start in starts_s])


def stretched_table(table: OptionTable, factors: Mapping[str, tuple[float, float]]) -> OptionTable:
    """Return the table with bytes enlarged, so that a planner for constant links sees the seconds of recorded ones.

    Parameters
    ----------
    table
        The option table.
    factors
        By client, how many times as long its transfers take up and down; clients not named keep theirs.
    """
    frame = table.table.copy()
    clients = frame["client"].to_numpy()
    for columns, which in ((_UP, 0), (_DOWN, 1)):
        scale = np.array([factors[name][which] if name in factors else 1.0 for name in clients])
        whole, *parts = columns
        steps = frame[whole].to_numpy()
        enlarged = np.zeros(len(frame), dtype=np.int64)
        for part in (name for name in parts if name in frame):
            steps = steps - frame[part].to_numpy()
            frame[part] = np.ceil(frame[part].to_numpy() * scale).astype(np.int64)
            enlarged += frame[part].to_numpy()
        frame[whole] = np.ceil(steps * scale).astype(np.int64) + enlarged
    return OptionTable(frame)


def with_urgency(plan: Plan, more_s: Mapping[str, float]) -> Dispatch | None:
    """Return the plan's service by priority with clients made more urgent; None where it has another schedule.

    Parameters
    ----------
    plan
        The plan.
    more_s
        By client, the seconds that are added.
    """
    schedule = plan.schedule
    if not isinstance(schedule, Dispatch):
        return None
    urgency_s = [own + more_s.get(name, 0.0) for name, own in zip(schedule.order, schedule.urgency_s, strict=True)]
    return Dispatch(order=schedule.order, urgency_s=tuple(urgency_s), fade_below=schedule.fade_below)


def with_fades(plan: Plan, fractions: tuple[float, ...]) -> Iterator[Plan]:
    """Yield the plan with other fractions of the mean below which a link counts as in a fade.

    Parameters
    ----------
    plan
        The plan; nothing where it does not serve by priority.
    fractions
        The fractions.
    """
    schedule = plan.schedule
    if isinstance(schedule, Dispatch):
        for fraction in fractions:
            if fraction != schedule.fade_below:
                changed = schedule.model_copy(update={"fade_below": fraction})
                yield plan.model_copy(update={"schedule": changed})
