"""A plan over relays trained at a seed, as one run of a study over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.orchestrator.relays.ledger import planned_entries
from hybridsplit.orchestrator.relays.running import relay_executor
from hybridsplit.orchestrator.relays.training import train_over_relays
from hybridsplit.orchestrator.studies.over_seeds.runs import SeedRun, is_bound, run_of
from hybridsplit.orchestrator.training import PLAN, OnRound
from hybridsplit.runtime.executors.base import Executor
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.relays.schema import RelayScenario


@dataclass(frozen=True)
class RelaysRun:
    """A plan over relays, to be trained at a seed.

    Parameters
    ----------
    name
        What it is called in its study.
    plan
        The plan.
    scenario
        The scenario at the seed.
    """

    name: str
    plan: RelayPlan
    scenario: RelayScenario

    @property
    def needs_processes(self) -> bool:
        """Whether clients or nodes have to be in processes of their own: on their machines, or to be stopped there."""
        if self.scenario.faults.client_timeout_s is not None or is_bound(self.scenario.clients):
            return True
        return any(node.ray_resource is not None for node in self.scenario.network.nodes)

    def facts(self) -> list[Any]:
        """Return what of the plan decides a run."""
        return [[client.model_dump(mode="json") for client in self.plan.clients], self.plan.value_s]

    def executor(self, settings: RunSettings) -> Executor[Any]:
        """Return the executor that the settings ask for, to be used as a context manager."""
        return relay_executor(self.scenario, settings)

    def executor_here(self, settings: RunSettings) -> Executor[Any]:
        """Return one that trains in this process."""
        return relay_executor(self.scenario, replace(settings, executor="inline"))

    def train(self, executor: Executor[Any], settings: RunSettings, on_round: OnRound) -> SeedRun:
        """Train on an entered executor.

        Raises
        ------
        BudgetExceededError, RunError
            If a client or a machine exceeds its memory, or training fails.
        """
        num_rounds = settings.num_rounds or self.scenario.training.rounds
        trained = train_over_relays(
            self.plan, self.scenario, executor, num_rounds, on_round=lambda done: on_round(PLAN, done)
        )
        everyone = [client.id for client in self.plan.clients]
        budget_bytes = {group.group: group.memory_budget_bytes for group in self.scenario.clients}
        groups = {client.id: client.group for client in self.plan.clients}
        return run_of(
            self,
            trained.result,
            bytes_a_round=sum(entry.bytes for entry in planned_entries(self.plan, self.scenario, 0, everyone)),
            joules_a_round=None,
            fullest=max(peak / budget_bytes[groups[name]] for name, peak in trained.result.peak_bytes.items()),
        )


def relays_over_seeds(scenario: RelayScenario, plans: Mapping[str, RelayPlan], seeds: Sequence[int]) -> list[RelaysRun]:
    """Return the runs of a study: by seed, the plan of every strategy.

    Parameters
    ----------
    scenario, plans
        The scenario, and its plans by strategy.
    seeds
        Seeds to train at.
    """
    seeded = [scenario.model_copy(update={"seed": seed}) for seed in seeds]
    return [RelaysRun(strategy, plan, one) for one in seeded for strategy, plan in plans.items()]
