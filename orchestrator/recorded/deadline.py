"""When rounds go on without those who are late: the deadline of the most progress a second over the recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.runtime.replay.windows import planning_and_judging_windows
from hybridsplit.scenarios.contracts.jobs import round_jobs
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.schema import Scenario

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)
"""Of rounds that wait for all, as deadlines to be tried."""
_FACTORS = (1.05, 1.25, 1.5, 2.0, 3.0)
"""Of the planned round, likewise."""
_MOST_JOBS = 4_000_000
"""Jobs that are replayed over all deadlines; plans of many clients are tried over fewer windows."""
_LEAST_WINDOWS = 5


class Tried(NamedTuple):
    """What rounds with a deadline came to.

    Parameters
    ----------
    deadline_s
        From the start of a round; None for rounds that wait for all.
    latencies_s
        Of every round.
    progress_a_second
        Expected progress of those who were in time, over the seconds of all rounds.
    data_seen
        Share of the data that was trained on, mean over rounds.
    """

    deadline_s: float | None
    latencies_s: tuple[float, ...]
    progress_a_second: float
    data_seen: float


def with_best_deadline(plan: Plan, scenario: Scenario, traces: Mapping[str, BandwidthTrace]) -> Plan:
    """Return the plan with the deadline of the most progress a second at which enough of the data is seen.

    Deadlines are compared over windows that begin in every other tenth of every recording; what the plan says of the
    chosen one is measured over windows in the rest.

    Parameters
    ----------
    plan, scenario
        The plan, and its scenario, in which rounds do not wait.
    traces
        Recordings by client.
    """
    jobs = sum(len(round_jobs(client, scenario.training.local_steps)) for client in plan.clients)
    wanted = scenario.objective.windows
    number = max(_LEAST_WINDOWS, min(wanted, _MOST_JOBS // (jobs * (len(_QUANTILES) + len(_FACTORS) + 2))))
    choosing_s, judging_s = planning_and_judging_windows(traces, scenario.seed, number)
    waiting = try_deadline(plan, scenario, traces, choosing_s, None)
    least_s = plan.round_latency_s * (1.0 + 1e-6)
    deadlines_s = {
        max(least_s, float(one))
        for one in (*np.quantile(waiting.latencies_s, _QUANTILES), *(plan.round_latency_s * f for f in _FACTORS))
    }
    tried = [try_deadline(plan, scenario, traces, choosing_s, one) for one in sorted(deadlines_s)]
    least = min(scenario.objective.least_data_seen, max(one.data_seen for one in tried))
    enough = [one for one in tried if one.data_seen >= least]
    best = max(enough, key=lambda one: (one.progress_a_second, one.deadline_s or 0.0))
    judged, patient = (try_deadline(plan, scenario, traces, judging_s, one) for one in (best.deadline_s, None))
    gain = judged.progress_a_second / patient.progress_a_second
    note = (
        f"With the deadline, over windows of the recordings that it was not chosen by, {judged.data_seen:.1%} of the "
        f"data is seen, and expected progress a second is {gain:.2f} times that of rounds that wait for all."
    )
    return plan.model_copy(update={"deadline_s": best.deadline_s, "notes": (*plan.notes, note)})


def try_deadline(
    plan: Plan,
    scenario: Scenario,
    traces: Mapping[str, BandwidthTrace],
    windows_s: Mapping[str, tuple[float, ...]],
    deadline_s: float | None,
) -> Tried:
    """Play rounds with a deadline.

    Parameters
    ----------
    plan, scenario, traces
        As of :func:`with_best_deadline`.
    windows_s
        By client with a recording, where in it every round begins.
    deadline_s
        The deadline; None waits for all.
    """
    ids = [client.id for client in plan.clients if client.id in traces]
    number = len(next(iter(windows_s.values())))
    played = replay(
        plan.model_copy(update={"deadline_s": deadline_s}),
        scenario,
        num_rounds=number,
        traces={name: traces[name] for name in ids},
        windows_s={name: windows_s[name] for name in ids},
    )
    worth = {client.id: client.data_weight * client.progress for client in plan.clients}
    weight = {client.id: client.data_weight for client in plan.clients}
    rounds = [number * sum(values.values()) for values in (worth, weight)]
    lost = [sum(values[one.client] for one in played.late) for values in (worth, weight)]
    return Tried(deadline_s, played.round_latency_s, (rounds[0] - lost[0]) / played.total_s, 1.0 - lost[1] / rounds[1])
