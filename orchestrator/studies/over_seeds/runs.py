"""One plan trained at one seed, kept in a file that is named by all it depends on."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import ACCURACY, ScoreName

if TYPE_CHECKING:
    from hybridsplit.orchestrator.pipeline import RunSettings
    from hybridsplit.orchestrator.training import OnRound
    from hybridsplit.runtime.executors.base import Executor
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.plan import Plan


class SeedRun(FrozenValue):
    """One plan trained at one seed."""

    strategy: str
    seed: int
    simulated_s: tuple[float, ...]
    """At the end of every round."""
    test_score: tuple[float, ...]
    """Of the test data, after every round."""
    score: ScoreName = ACCURACY.name
    """Which score that is."""
    train_loss: tuple[float | None, ...]
    bytes_a_round: int
    joules_a_round: float | None
    """None where the power of some device is not known."""
    fullest: float
    """Largest measured peak of a client over its budget."""


@dataclass(frozen=True)
class WantedRun:
    """A plan to be trained at a seed.

    Parameters
    ----------
    name
        What it is called in its study.
    plan
        The plan.
    scenario
        The scenario at the seed.
    options
        Its option table.
    """

    name: str
    plan: Plan
    scenario: Scenario
    options: OptionTable


def run_file(folder: Path, one: WantedRun, settings: RunSettings) -> Path:
    """Name a run by all that it depends on, so that another plan or scenario is never taken for it.

    Parameters
    ----------
    folder
        Of the study.
    one
        The run.
    settings
        How many rounds are run.
    """
    plan, seed = one.plan, one.scenario.seed
    clients = [[client.id, *client.key] for client in plan.clients]
    facts = [one.scenario.content_hash(), settings.num_rounds, clients, plan.round_latency_s]
    facts += [] if settings.torch_device == "cpu" else [settings.torch_device]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return folder / "runs" / one.name / f"seed-{seed}-{digest}.json"


def train_one(
    one: WantedRun, executor: Executor[Any], settings: RunSettings, on_round: OnRound = lambda run, done: None
) -> SeedRun:
    """Train a plan at a seed.

    Parameters
    ----------
    one
        The run.
    executor, settings
        Who trains, entered, and how many rounds.
    on_round
        Called after every round.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    """
    from hybridsplit.orchestrator.training import train_by_plan

    plan, num_rounds = one.plan, settings.num_rounds or one.scenario.training.rounds
    trained = train_by_plan(
        plan, one.scenario, one.options, executor, num_rounds, lambda what, share: None, with_control=False,
        on_round=on_round,
    )  # fmt: skip
    records, energies = trained.result.records, [client.client_energy_j for client in plan.clients]
    budget = {client.id: client.memory_budget_bytes for client in plan.clients}
    return SeedRun(
        strategy=one.name,
        seed=one.scenario.seed,
        simulated_s=tuple(record.simulated_s for record in records),
        test_score=tuple(record.test_score for record in records),
        score=records[-1].score,
        train_loss=tuple(record.train_loss for record in records),
        bytes_a_round=sum(client.uplink_bytes + client.downlink_bytes for client in plan.clients),
        joules_a_round=None if None in energies else math.fsum(energy or 0.0 for energy in energies),
        fullest=max(peak / budget[name] for name, peak in trained.result.peak_bytes.items()),
    )


def keep_run(run: SeedRun, file: Path) -> None:
    """Write a run where :func:`run_file` says.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text_whole(file, run.model_dump_json(indent=1) + "\n")


def kept_run(file: Path) -> SeedRun:
    """Read a run that was kept.

    Raises
    ------
    ContractError
        If the file is none.
    """
    try:
        return SeedRun.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise ContractError(f"{file}: damaged: needs a run that a study kept; remove it to run it again") from error
