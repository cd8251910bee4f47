"""What a plan's rounds take over windows of the recordings: those it may be chosen by, and those that judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridsplit.runtime.replay import replay
from hybridsplit.runtime.replay.traces import BandwidthTrace
from hybridsplit.runtime.replay.windows import planning_and_judging_windows
from hybridsplit.scenarios.contracts.jobs import round_jobs
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.objective import Statistic

FloatArray = NDArray[np.float64]

_QUANTILES: Mapping[Statistic, float] = {"p50": 0.5, "p95": 0.95}


def statistic_of(values: FloatArray, statistic: Statistic) -> float:
    """Return the mean or a quantile of values.

    Parameters
    ----------
    values
        [W] one a round.
    statistic
        Which.
    """
    if statistic == "mean":
        return float(values.mean())
    return float(np.quantile(values, _QUANTILES[statistic]))


@dataclass(frozen=True)
class Played:
    """A plan's rounds.

    Parameters
    ----------
    objective_s
        [W] the plan's objective of every round.
    slowest
        [W] the client that the others wait for.
    """

    objective_s: FloatArray
    slowest: tuple[str, ...]


class RecordedRounds:
    """Windows of the recordings, the same for every plan: plans are compared on common random numbers.

    Parameters
    ----------
    scenario
        The scenario; its objective says how many windows there are.
    traces
        Recordings by client.
    """

    def __init__(self, scenario: Scenario, traces: Mapping[str, BandwidthTrace]) -> None:
        self._scenario, self._traces = scenario, traces
        self.number = scenario.objective.windows
        self._planning_s, self._judging_s = planning_and_judging_windows(traces, scenario.seed, self.number)

    def choose_by(self, plan: Plan, number: int | None = None) -> Played:
        """Play a plan over the first of the windows that plans may be chosen by; over all of them when None."""
        return self._play(plan, self._planning_s, number or self.number)

    def judge(self, plan: Plan) -> Played:
        """Play a plan over the windows that no plan is chosen by."""
        return self._play(plan, self._judging_s, self.number)

    def jobs_of(self, plan: Plan) -> int:
        """Count the jobs of one of its rounds, which is what a round's replay costs."""
        return sum(len(round_jobs(client, self._scenario.training.local_steps)) for client in plan.clients)

    def _play(self, plan: Plan, windows_s: Mapping[str, tuple[float, ...]], number: int) -> Played:
        ids = [client.id for client in plan.clients if client.id in self._traces]
        played = replay(
            plan,
            self._scenario,
            num_rounds=number,
            traces={name: self._traces[name] for name in ids},
            windows_s={name: windows_s[name][:number] for name in ids},
        )
        # Every objective in seconds is proportional to the round's latency and the price of those who are left out.
        planned_s = plan.round_latency_s + plan.drop_price_s
        seconds = (np.array(played.round_latency_s) + plan.drop_price_s) * (plan.objective_s / planned_s)
        return Played(seconds, tuple(one.slowest_client for one in played.played))
