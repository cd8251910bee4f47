"""One plan trained at one seed, kept in a file that is named by all it depends on."""

from __future__ import annotations

import hashlib
import json
import math
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


def run_file(folder: Path, name: str, plan: Plan, seeded: Scenario, settings: RunSettings) -> Path:
    """Name a run by all that it depends on, so that another plan or scenario is never taken for it.

    Parameters
    ----------
    folder, name
        Of the study, and what the run is called there.
    plan
        What is trained.
    seeded
        The scenario at the seed of the run.
    settings
        How many rounds are run.
    """
    facts = [seeded.content_hash(), settings.num_rounds, [[c.id, *c.key] for c in plan.clients], plan.round_latency_s]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return folder / "runs" / name / f"seed-{seeded.seed}-{digest}.json"


def train_and_keep(
    plan: Plan,
    name: str,
    seeded: Scenario,
    options: OptionTable,
    executor: Any,
    settings: RunSettings,
    file: Path,
    on_round: OnRound = lambda run, done: None,
) -> None:
    """Train a plan at a seed and write what came of it.

    Parameters
    ----------
    plan, name
        What is trained, and what the run is called.
    seeded, options
        The scenario at the seed, and its option table.
    executor, settings
        Who trains, and how many rounds.
    file
        Where to, as :func:`run_file` names it.
    on_round
        Called after every round.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    """
    from hybridsplit.orchestrator.training import train_by_plan

    num_rounds = settings.num_rounds or seeded.training.rounds
    trained = train_by_plan(
        plan, seeded, options, executor, num_rounds, lambda what, share: None, with_control=False, on_round=on_round
    )
    records, energies = trained.result.records, [client.client_energy_j for client in plan.clients]
    budget = {client.id: client.memory_budget_bytes for client in plan.clients}
    run = SeedRun(
        strategy=name,
        seed=seeded.seed,
        simulated_s=tuple(record.simulated_s for record in records),
        test_score=tuple(record.test_score for record in records),
        score=records[-1].score,
        train_loss=tuple(record.train_loss for record in records),
        bytes_a_round=sum(client.uplink_bytes + client.downlink_bytes for client in plan.clients),
        joules_a_round=None if None in energies else math.fsum(energy or 0.0 for energy in energies),
        fullest=max(peak / budget[name] for name, peak in trained.result.peak_bytes.items()),
    )
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
