"""A run over relays: plan, train on the replay's clock, and the run folder with its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.pipeline import Progress, RunSettings, check_data, check_same_scenario
from hybridsplit.orchestrator.relays.check import joined
from hybridsplit.orchestrator.relays.ledger import planned_entries, replayed_entries
from hybridsplit.orchestrator.relays.planning import ComparedRelays, compare_relays, open_relay_plan, plans_by_strategy
from hybridsplit.orchestrator.relays.replaying import RelaySummary, TrainedFigures, save_relay_folder, summary_of
from hybridsplit.orchestrator.relays.training import TrainedRelays, train_over_relays
from hybridsplit.orchestrator.run_folder import CLIENT_COLUMNS, RunFolder
from hybridsplit.orchestrator.summary import bytes_by_source, rounds_table
from hybridsplit.orchestrator.training import PLAN, OnRound
from hybridsplit.orchestrator.writing import writing_to
from hybridsplit.profiler.relays import relay_costs
from hybridsplit.scenarios.contracts.ledger import Ledger, LedgerEntry
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.errors import ScenarioError, UsageError
from hybridsplit.scenarios.relays.loading import single_cut
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.scores import score_called
from hybridsplit.solver.relays.assemble import make_relay_plan
from hybridsplit.solver.relays.strategies import RELAY_STRATEGIES

if TYPE_CHECKING:
    from hybridsplit.runtime.executors.base import Executor
    from hybridsplit.runtime.run.records import RoundDone


def plan_of_run(
    scenario: RelayScenario,
    folder: RunFolder,
    plan: RelayPlan | None,
    origin: str,
    strategy: str,
    *,
    resume: bool,
    on_progress: Progress = lambda what, share: None,
) -> RelayPlan:
    """Return the plan that a run goes by: the given one, that of the run that goes on, or one that is made now.

    Parameters
    ----------
    scenario
        The scenario.
    folder
        Of the run, which holds the plan of one that goes on.
    plan
        A verified plan; None to go on with the folder's, or to plan by ``strategy``.
    origin
        Where the plan comes from, for messages.
    strategy
        Name of a strategy.
    resume
        Whether the run goes on.
    on_progress
        Called with what is being done and the share that is done.

    Raises
    ------
    ScenarioError
        If nothing is trained by the scenario, or its data are not what it says.
    AlteredError, ContractError, UsageError
        If the plan is not as it was written, is no plan of this scenario, or the run began with another.
    InfeasibleError, SolverFailure
        If no placement keeps the limits.
    """
    check_trains(scenario)
    check_data(single_cut(scenario))
    if resume:
        begun = open_relay_plan(folder.path / "plan.json")
        if plan is not None and plan.clients != begun.clients:
            raise UsageError(f"{origin}: this run began with another plan; leave it out to resume the run")
        plan, origin = begun, str(folder.path / "plan.json")
    if plan is not None:
        check_same_scenario(plan, scenario, origin)
        return plan
    costs = relay_costs(scenario, on_progress)
    on_progress(f"{strategy}, {scenario.num_clients} clients", 0.5)
    return make_relay_plan(scenario, costs, strategy)


def run_relays(
    scenario: RelayScenario,
    plan: RelayPlan,
    folder: RunFolder,
    settings: RunSettings,
    on_progress: Progress = lambda what, share: None,
    *,
    on_round: Callable[[RoundDone], None] = lambda done: None,
) -> RelaySummary:
    """Train by a plan, replay it, and write the run folder with its report.

    Parameters
    ----------
    scenario, plan
        The scenario, and a verified plan for it.
    folder
        Where to write; it is created.
    settings
        Executor, workers, rounds, and whether to resume.
    on_progress
        Called with what is being done and the share that is done.
    on_round
        Called after every round.

    Raises
    ------
    BudgetExceededError, RunError
        If a client or a machine exceeds its memory, or training fails.
    """
    import pandas as pd

    num_rounds = settings.num_rounds or scenario.training.rounds
    folder.create()
    with writing_to(folder.path, "nothing was trained yet: free some space or make it writable, and start again"):
        if not settings.resume:
            folder.save_plan(plan)
        folder.save_scenario(scenario)
        folder.list_inputs()

    def shown(done: RoundDone) -> None:
        number = done.round + 1
        on_progress(f"round {number}/{num_rounds}  {done.score_text}", number / num_rounds)
        on_round(done)

    with relay_executor(scenario, settings) as executor:
        on_progress("starting workers and loading data", 0.0)
        trained = train_over_relays(
            plan, scenario, executor, num_rounds,
            checkpoints=folder.checkpoints, resume=settings.resume, on_round=shown,
        )  # fmt: skip
    on_progress("comparing with other strategies", 1.0)
    rows = tuple(compare_relays(scenario, list(RELAY_STRATEGIES)))
    entries = _entries(plan, scenario, trained)
    figures = _figures(plan, scenario, trained, entries, settings.executor)
    summary = summary_of(plan, joined(trained.played))
    summary = summary.model_copy(update={"training": figures, "strategies": rows})
    result = trained.result
    with writing_to(folder.path, "every round is in its checkpoints: free some space, and go on with --resume"):
        folder.save_rounds(rounds_table(result.records))
        folder.save_clients(pd.DataFrame([asdict(record) for record in result.clients], columns=list(CLIENT_COLUMNS)))
        folder.save_ledger(Ledger.from_entries(entries))
    save_relay_folder(folder, plan, summary)
    return summary


def train_strategies(
    scenario: RelayScenario,
    names: Sequence[str],
    settings: RunSettings,
    on_progress: Progress = lambda what, share: None,
    on_rounds_of: Callable[[RelayPlan, str], OnRound] = lambda plan, name: lambda run, done: None,
) -> list[ComparedRelays]:
    """Plan with several strategies, and train by the plan of each; nothing is written.

    Parameters
    ----------
    scenario
        The scenario.
    names
        Their names.
    settings
        Executor, workers and rounds.
    on_progress
        Called with what is being done and the share that is done.
    on_rounds_of
        By plan and strategy, what to call after every round of its training.

    Raises
    ------
    UsageError, ScenarioError, ProfileError
        If there is no strategy of a name, a cost is not known, or nothing is trained by the scenario.
    BudgetExceededError, RunError
        If training fails.
    """
    check_trains(scenario)
    rows, plans = plans_by_strategy(scenario, names, on_progress)
    num_rounds = settings.num_rounds or scenario.training.rounds
    found: list[ComparedRelays] = []
    with relay_executor(scenario, settings) as executor:
        for position, row in enumerate(rows):
            on_progress(f"training by {row.strategy}", position / len(rows))
            plan = plans.get(row.strategy)
            if plan is None:
                found.append(row)
                continue
            on_round = partial(on_rounds_of(plan, row.strategy), PLAN)
            last = train_over_relays(plan, scenario, executor, num_rounds, on_round=on_round).result.records[-1]
            figures = {score_called(last.score).column: last.test_score, "simulated_s": last.simulated_s}
            found.append(row.model_copy(update=figures))
    return found


def check_trains(scenario: RelayScenario) -> None:
    """Refuse a scenario by which nothing is trained.

    Parameters
    ----------
    scenario
        The scenario.

    Raises
    ------
    ScenarioError
        If it only runs the model.
    """
    if not scenario.trains:
        raise ScenarioError(
            f"{scenario.name}: objective.minimise: found {scenario.objective.minimise!r}, where nothing is trained: "
            "state round-latency with an optimizer, or use the commands plan, replay, compare and report"
        )


def relay_executor(scenario: RelayScenario, settings: RunSettings) -> Executor[Any]:
    """Return the executor that the settings ask for, to be used as a context manager.

    Parameters
    ----------
    scenario, settings
        What is trained, and how.

    Raises
    ------
    UsageError
        If another device than the CPU is to compute.
    """
    if settings.torch_device != "cpu":
        raise UsageError(
            f"--torch-device {settings.torch_device}: a model that is cut several times is computed on the CPU; leave "
            "it out"
        )
    if settings.executor == "inline":
        from hybridsplit.runtime.executors.inline import InlineExecutor
        from hybridsplit.runtime.relays.worker import RelayWorker

        return InlineExecutor(single_cut(scenario), make_worker=RelayWorker)
    from hybridsplit.runtime.executors.ray_relay_executor import RayRelayExecutor

    machines = scenario.network.machines()
    return RayRelayExecutor(single_cut(scenario), machines, settings.num_workers, address=settings.address)


def _entries(plan: RelayPlan, scenario: RelayScenario, trained: TrainedRelays) -> list[LedgerEntry]:
    found: list[LedgerEntry] = []
    for round_index, played in enumerate(trained.played):
        found += planned_entries(plan, scenario, round_index, played.ends_s)
        found += replayed_entries(played, round_index)
    return [*found, *trained.result.measured.entries()]


def _figures(
    plan: RelayPlan, scenario: RelayScenario, trained: TrainedRelays, entries: list[LedgerEntry], executor: str
) -> TrainedFigures:
    result = trained.result
    left_out = {(fault.client, fault.round) for fault in result.faults}
    sums = LedgerSums.of_entries(entries, left_out)
    nodes = {client.id: dict(result.node_peak_bytes.get(client.id, {})) for client in plan.clients}
    events = (*result.events, *(fault.describe() for fault in result.faults))
    last = result.records[-1]
    budgets = {client.id: client.memory_budget_bytes for client in single_cut(scenario).expanded_clients()}
    return TrainedFigures(
        simulated_s=last.simulated_s,
        train_loss=last.train_loss,
        bytes=bytes_by_source(sums),
        bytes_agree=sums.bytes_agree,
        peak_bytes=result.peak_bytes,
        node_peak_bytes=nodes,
        within_budget=all(peak <= budgets[client] for client, peak in result.peak_bytes.items()),
        executor=executor,
        events=events,
        **{score_called(last.score).column: last.test_score},
    )
