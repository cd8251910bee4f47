"""What is logged of a round, and under which name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.scores import score_called


@dataclass(frozen=True)
class LoggedRun:
    """One run as a log keeps it.

    Parameters
    ----------
    name
        Unique among the runs of an experiment that go on at a time: ``plan``, ``optimal-seed-1``.
    parameters
        What it was made with.
    """

    name: str
    parameters: Mapping[str, str | int]


def logged_run(name: str, plan: Plan | RelayPlan, seed: int | None = None) -> LoggedRun:
    """Return a run by a plan.

    Parameters
    ----------
    name
        What it is called.
    plan
        What is trained.
    seed
        At which seed; that of the plan's scenario when None.
    """
    parameters: dict[str, str | int] = {
        "strategy": plan.strategy,
        "seed": plan.scenario["seed"] if seed is None else seed,
        "scenario_hash": plan.scenario_hash,
        "num_clients": len(plan.clients),
    }
    return LoggedRun(name, parameters)


class RoundWriter(Protocol):
    """Where rounds are written."""

    def add(self, run: LoggedRun, done: RoundDone) -> None:
        """Write a round of a run."""

    def close(self) -> None:
        """Write what is left."""


def figures_of(done: RoundDone) -> dict[str, float]:
    """Return the figures of a round by name, units in the names; what is not known is left out.

    Parameters
    ----------
    done
        The round.
    """
    found = {
        score_called(done.score).column: done.test_score,
        "train_loss": done.train_loss,
        "simulated_s": done.simulated_s,
        "uplink_bytes": float(done.uplink_bytes),
        "downlink_bytes": float(done.downlink_bytes),
        "largest_peak_bytes": None if done.peak_bytes is None else float(done.peak_bytes),
        "uplink_utilisation": done.uplink_utilisation,
        "downlink_utilisation": done.downlink_utilisation,
        "server_utilisation": done.server_utilisation,
    }
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}
