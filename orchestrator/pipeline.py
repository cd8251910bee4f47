"""Scenario to options to plan to run to report: what the commands have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hybridsplit.orchestrator.report import ReportData, render_report
from hybridsplit.orchestrator.run_folder import CLIENT_COLUMNS, ROUND_COLUMNS, RunFolder
from hybridsplit.orchestrator.summary import round_ends_s, rounds_left_out, rounds_table, summarise
from hybridsplit.runtime.replay import replay, scenario_of
from hybridsplit.scenarios.contracts.assignment import assignments_of, frozen_assignments
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.runtime.executors.base import Executor
    from hybridsplit.runtime.run.checkpoint import RoundRecord

Progress = Callable[[str, float], None]


def _silent(what: str, share: float) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out.

    Parameters
    ----------
    executor
        ``inline`` or ``ray``.
    num_workers
        Worker processes of ``ray``.
    num_rounds
        Rounds; the scenario's when None.
    resume
        Continue from the newest checkpoint.
    address
        Address of a running Ray cluster to join; None starts one on this machine.
    """

    executor: str = "ray"
    num_workers: int = 2
    num_rounds: int | None = None
    resume: bool = False
    address: str | None = None


def default_workers() -> int:
    """One worker a core."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def make_options(scenario: Scenario, on_progress: Progress = _silent) -> OptionTable:
    """Profile a scenario."""
    from hybridsplit.profiler.options import profile_scenario

    return profile_scenario(scenario, on_progress)


def check_data(scenario: Scenario) -> None:
    """Load the data and deal it to the clients, so that what is wrong with it shows before anything is computed.

    Raises
    ------
    ScenarioError
        If the data are not what the scenario says, or a client gets less than a batch.
    """
    from hybridsplit.runtime.data.partition import partition
    from hybridsplit.runtime.data.sources import load_dataset

    partition(load_dataset(scenario).train, scenario)


def check_same_scenario(plan: Plan, scenario: Scenario, where: str) -> None:
    """Refuse a plan that was made for another scenario.

    Parameters
    ----------
    plan, scenario
        The plan and the scenario it is to be used for.
    where
        Where the plan came from, for the message.

    Raises
    ------
    UsageError
        If the hashes differ.
    """
    if plan.scenario_hash != scenario.content_hash():
        raise UsageError(
            f"{where}: this plan was made for another scenario (or other --set values): found hash "
            f"{plan.scenario_hash[:12]}, needs {scenario.content_hash()[:12]}; plan again, or run with the scenario it "
            "was made for"
        )


def run_plan(
    scenario: Scenario,
    options: OptionTable,
    plan: Plan,
    folder: RunFolder,
    settings: RunSettings,
    on_progress: Progress = _silent,
) -> dict[str, Any]:
    """Train by a plan, replay its network, and write the run folder with its report.

    Parameters
    ----------
    scenario, options, plan
        The scenario, its option table, and a verified plan for it.
    folder
        Where to write; it is created.
    settings
        Executor, workers, rounds, and whether to resume.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].

    Returns
    -------
    The document of ``summary.json``.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    """
    from hybridsplit.runtime.run.rounds import train

    num_rounds = settings.num_rounds or scenario.training.rounds
    folder.create().save_scenario(scenario)
    if not settings.resume:
        folder.save_options(options)
        folder.save_plan(plan)
    replayed = replay(plan, scenario, num_rounds=num_rounds)
    ends_s = round_ends_s(replayed)
    control: pd.DataFrame | None = None
    with worker_pool(scenario, settings) as executor:
        on_progress("starting workers and loading data", 0.0)
        result = train(
            scenario,
            assignments_of(plan, scenario),
            executor,
            ends_s,
            schedule=plan.schedule,
            checkpoint_folder=folder.checkpoints,
            resume=settings.resume,
            options=options,
            on_round=_round_shown(on_progress, "", num_rounds),
        )
        if scenario.training.frozen_control:
            frozen = train(
                scenario,
                frozen_assignments(assignments_of(plan, scenario)),
                executor,
                ends_s,
                schedule=plan.schedule,
                checkpoint_folder=folder.path / "checkpoints-control",
                resume=settings.resume,
                on_round=_round_shown(on_progress, "frozen control, ", num_rounds),
            )
            control = rounds_table(frozen.records)
            folder.save_rounds(control, "control")
    folder.save_rounds(rounds_table(result.records))
    folder.save_clients(pd.DataFrame([asdict(record) for record in result.clients], columns=list(CLIENT_COLUMNS)))
    ledger = Ledger.concat([planned_ledger(plan, scenario, num_rounds), replayed.ledger, result.measured])
    folder.save_ledger(ledger)
    left_out = rounds_left_out(result.faults, scenario.faults.policy, num_rounds)
    summary = summarise(plan, ledger, rounds_table(result.records), control, result.peak_bytes, left_out)
    summary["executor"] = settings.executor
    summary["events"] = [*result.events, *(fault.describe(scenario.faults.policy) for fault in result.faults)]
    summary["notes"] += summary["events"]
    folder.save_summary(summary)
    write_report(folder)
    summary["report"] = str(folder.report)
    return summary


def _round_shown(on_progress: Progress, what: str, num_rounds: int) -> Callable[[RoundRecord], None]:
    """Return what shows a round that is done."""

    def show(record: RoundRecord) -> None:
        done = record.round + 1
        on_progress(f"{what}round {done}/{num_rounds}  accuracy {record.test_accuracy:.1%}", done / num_rounds)

    return show


def planned_ledger(plan: Plan, scenario: Scenario, num_rounds: int) -> Ledger:
    """Return the planned ledger of those who take part in each round.

    Parameters
    ----------
    plan, scenario
        The plan, and the scenario that draws the participants.
    num_rounds
        Rounds of the ledger.
    """
    from hybridsplit.runtime.data.participation import attendance

    return plan.ledger(num_rounds, attendance(scenario, [client.id for client in plan.clients], num_rounds))


def worker_pool(scenario: Scenario, settings: RunSettings) -> Executor[Any]:
    """Return the executor that the settings ask for, to be used as a context manager."""
    if settings.executor == "inline":
        from hybridsplit.runtime.executors.inline import InlineExecutor

        return InlineExecutor(scenario)
    from hybridsplit.runtime.executors.ray import RayExecutor

    return RayExecutor(scenario, settings.num_workers, address=settings.address)


def replay_plan(plan: Plan, folder: RunFolder, num_rounds: int, traces: Any = None) -> dict[str, Any]:
    """Replay a plan's network without training, and write a folder with its report.

    Parameters
    ----------
    plan
        The plan; it carries its scenario.
    folder
        Where to write; it is created.
    num_rounds
        Rounds to replay.
    traces
        By client, a recorded bandwidth trace; constant links when None.

    Returns
    -------
    The document of ``summary.json``.
    """
    scenario = scenario_of(plan)
    check_same_scenario(plan, scenario, "the plan's scenario")
    replayed = replay(plan, scenario, num_rounds=num_rounds, traces=traces)
    folder.create()
    folder.save_scenario(scenario)
    folder.save_plan(plan)
    ledger = Ledger.concat([planned_ledger(plan, scenario, num_rounds), replayed.ledger])
    folder.save_ledger(ledger)
    summary = summarise(plan, ledger, None, None, {})
    folder.save_summary(summary)
    write_report(folder)
    summary["report"] = str(folder.report)
    return summary


def write_report(folder: RunFolder) -> Path:
    """Render ``report.html`` from the files of a run folder.

    Raises
    ------
    ContractError
        If the folder holds no complete run.
    """
    summary = folder.summary()
    plan = folder.plan()
    rounds = folder.rounds()
    peaks = summary.get("peak_bytes", {})
    memory = pd.DataFrame(
        {
            "client": [c.id for c in plan.clients],
            "predicted_peak_bytes": [c.client_peak_bytes for c in plan.clients],
            "measured_peak_bytes": [float(peaks.get(c.id, float("nan"))) for c in plan.clients],
            "budget_bytes": [c.memory_budget_bytes for c in plan.clients],
        }
    )
    data = ReportData(
        scenario=validate_scenario(plan.scenario, f"{folder.path}/plan.json: scenario"),
        plan=plan,
        options=folder.options(),
        ledger=folder.ledger(),
        rounds=rounds if rounds is not None else pd.DataFrame(columns=list(ROUND_COLUMNS)),
        memory=memory,
        control=folder.rounds("control"),
        notes=tuple(note for note in summary.get("notes", ()) if note not in plan.notes),
    )
    write_text_whole(folder.report, render_report(data))
    return folder.report
