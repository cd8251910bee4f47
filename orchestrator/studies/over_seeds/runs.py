"""One plan trained at one seed, kept in a file that is named by all it depends on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.scores import ACCURACY, ScoreName

if TYPE_CHECKING:
    from hybridsplit.orchestrator.pipeline import RunSettings
    from hybridsplit.orchestrator.training import OnRound
    from hybridsplit.runtime.executors.base import Executor
    from hybridsplit.runtime.run.rounds import TrainingResult
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.plan import Plan
    from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
    from hybridsplit.scenarios.relays.schema import RelayClients, RelayScenario
    from hybridsplit.scenarios.schema import Scenario
    from hybridsplit.scenarios.sections.network import ClientGroup


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


class WantedRun(Protocol):
    """A plan to be trained at a seed."""

    @property
    def name(self) -> str:
        """What it is called in its study."""

    @property
    def plan(self) -> Plan | RelayPlan:
        """The plan."""

    @property
    def scenario(self) -> Scenario | RelayScenario:
        """The scenario at the seed."""

    @property
    def needs_processes(self) -> bool:
        """Whether clients have to be in processes of their own: on their devices, or where they can be stopped."""

    def facts(self) -> list[Any]:
        """Return what it depends on beside the scenario, rounds and device, as JSON values."""

    def executor(self, settings: RunSettings) -> Executor[Any]:
        """Return the executor that the settings ask for, to be used as a context manager."""

    def executor_here(self, settings: RunSettings) -> Executor[Any]:
        """Return one that trains in this process."""

    def train(self, executor: Executor[Any], settings: RunSettings, on_round: OnRound) -> SeedRun:
        """Train on an entered executor; ``on_round`` is called after every round."""


@dataclass(frozen=True)
class CutRun:
    """A plan with one cut a client, to be trained at a seed.

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

    @property
    def needs_processes(self) -> bool:
        """Whether clients have to be in processes of their own."""
        return is_bound(self.scenario.clients) or self.scenario.faults.client_timeout_s is not None

    def facts(self) -> list[Any]:
        """Return what of the plan decides a run."""
        return [[[client.id, *client.key] for client in self.plan.clients], self.plan.round_latency_s]

    def executor(self, settings: RunSettings) -> Executor[Any]:
        """Return the executor that the settings ask for, to be used as a context manager."""
        from hybridsplit.orchestrator.pipeline import worker_pool

        return worker_pool(self.scenario, settings)

    def executor_here(self, settings: RunSettings) -> Executor[Any]:
        """Return one that trains in this process."""
        from hybridsplit.runtime.executors.inline import InlineExecutor
        from hybridsplit.runtime.split.compute import COMPUTE_DEVICES

        return InlineExecutor(self.scenario, devices=COMPUTE_DEVICES[settings.torch_device])

    def train(self, executor: Executor[Any], settings: RunSettings, on_round: OnRound) -> SeedRun:
        """Train on an entered executor.

        Raises
        ------
        BudgetExceededError, RunError
            If a client exceeds its budget or training fails.
        """
        from hybridsplit.orchestrator.training import train_by_plan

        plan, num_rounds = self.plan, settings.num_rounds or self.scenario.training.rounds
        trained = train_by_plan(
            plan, self.scenario, self.options, executor, num_rounds, lambda what, share: None, with_control=False,
            on_round=on_round,
        )  # fmt: skip
        energies = [client.client_energy_j for client in plan.clients]
        budget = {client.id: client.memory_budget_bytes for client in plan.clients}
        return run_of(
            self,
            trained.result,
            bytes_a_round=sum(client.uplink_bytes + client.downlink_bytes for client in plan.clients),
            joules_a_round=None if None in energies else math.fsum(energy or 0.0 for energy in energies),
            fullest=max(peak / budget[name] for name, peak in trained.result.peak_bytes.items()),
        )


def cuts_over_seeds(
    scenario: Scenario, options: OptionTable, plans: Mapping[str, Plan], seeds: Sequence[int]
) -> list[CutRun]:
    """Return the runs of a study: by seed, the plan of every strategy.

    Parameters
    ----------
    scenario, options, plans
        The scenario, its option table, and its plans by strategy.
    seeds
        Seeds to train at.
    """
    seeded = [scenario.model_copy(update={"seed": seed}) for seed in seeds]
    return [CutRun(strategy, plan, one, options) for one in seeded for strategy, plan in plans.items()]


def is_bound(groups: Iterable[ClientGroup | RelayClients]) -> bool:
    """Say whether some clients run on devices of their own.

    Parameters
    ----------
    groups
        Groups of clients.
    """
    return any(group.ray_resource is not None for group in groups)


def run_of(
    one: WantedRun, result: TrainingResult, *, bytes_a_round: int, joules_a_round: float | None, fullest: float
) -> SeedRun:
    """Return what a study keeps of a run.

    Parameters
    ----------
    one
        What was to be trained.
    result
        The trained rounds.
    bytes_a_round, joules_a_round, fullest
        As for :class:`SeedRun`.
    """
    records = result.records
    return SeedRun(
        strategy=one.name,
        seed=one.scenario.seed,
        simulated_s=tuple(record.simulated_s for record in records),
        test_score=tuple(record.test_score for record in records),
        score=records[-1].score,
        train_loss=tuple(record.train_loss for record in records),
        bytes_a_round=bytes_a_round,
        joules_a_round=joules_a_round,
        fullest=fullest,
    )


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
    facts = [one.scenario.content_hash(), settings.num_rounds, *one.facts()]
    facts += [] if settings.torch_device == "cpu" else [settings.torch_device]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return folder / "runs" / one.name / f"seed-{one.scenario.seed}-{digest}.json"


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
