"""Scenario to options to plan to run to report: what the commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.memory_words import levels_line
from hybridsplit.orchestrator.plan_file import STATED
from hybridsplit.orchestrator.replanning.words import changes_notes, check_policy, planned_entries, predicted_peaks
from hybridsplit.orchestrator.run_check import check_run
from hybridsplit.orchestrator.run_folder import CLIENT_COLUMNS, ROUND_COLUMNS, RunFolder
from hybridsplit.orchestrator.summary import rounds_table, summarise
from hybridsplit.orchestrator.timeline.rounds import replayed_rounds
from hybridsplit.orchestrator.writing import writing_to
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import Summary
from hybridsplit.scenarios.cores import usable_cores
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.loader import validate_scenario
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.orchestrator.training import Trained
    from hybridsplit.runtime.executors.base import Executor
    from hybridsplit.runtime.run.records import RoundDone
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
    from hybridsplit.scenarios.relays.schema import RelayScenario

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
    torch_device
        What computes: ``cpu``, ``cuda`` or ``server-cuda``, the server parts alone on a GPU. It decides bits.
    """

    executor: str = "ray"
    num_workers: int = 2
    num_rounds: int | None = None
    resume: bool = False
    address: str | None = None
    torch_device: str = "cpu"


def default_workers() -> int:
    """One worker a core."""
    return usable_cores()


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


def check_same_scenario(plan: Plan | RelayPlan, scenario: Scenario | RelayScenario, where: str) -> None:
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


def check_begun(folder: RunFolder, plan: Plan | None, origin: str) -> Plan:
    """Return the plan of a run that is to go on, and refuse another one.

    Parameters
    ----------
    folder
        Of the run.
    plan, origin
        The plan it is to go on with, and where it came from; the run's own when None.

    Raises
    ------
    AlteredError, ContractError
        If a file that the run goes by is not as it was written.
    UsageError
        If the run began with another plan.
    """
    begun = folder.plan_begun()
    if plan is not None and (plan.clients, plan.schedule) != (begun.clients, begun.schedule):
        raise UsageError(f"{origin}: this run began with another plan; leave it out to resume the run")
    return begun


def run_plan(
    scenario: Scenario,
    options: OptionTable,
    plan: Plan,
    folder: RunFolder,
    settings: RunSettings,
    on_progress: Progress = _silent,
    *,
    bounds: str = "",
    on_round: Callable[[str, RoundDone], None] = lambda run, done: None,
) -> Summary:
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
    bounds
        What the report is to say of where the plan's bounds come from; empty where they were derived just now.
    on_round
        As for :func:`~hybridsplit.orchestrator.training.train_by_plan`.

    Returns
    -------
    Summary
        The document of ``summary.json``.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    """
    on_progress("loading PyTorch", 0.0)
    from hybridsplit.orchestrator.training import train_by_plan

    num_rounds = settings.num_rounds or scenario.training.rounds
    check_policy(scenario)
    _check_links(plan, scenario, num_rounds)
    folder.create()
    with writing_to(folder.path, "nothing was trained yet: free some space or make it writable, and start again"):
        if not settings.resume or not folder.is_listed:
            folder.save_options(options)
            folder.save_plan(plan)
        folder.save_scenario(scenario)
        folder.list_inputs()
    with worker_pool(scenario, settings) as executor:
        on_progress("starting workers and loading data", 0.0)
        trained = train_by_plan(
            plan,
            scenario,
            options,
            executor,
            num_rounds,
            on_progress,
            with_control=scenario.training.frozen_control,
            folder=folder,
            resume=settings.resume,
            on_round=on_round,
        )
    summary = _write_results(folder, plan, trained, settings)
    write_report(folder, bounds=bounds)
    return summary


def _write_results(folder: RunFolder, plan: Plan, trained: Trained, settings: RunSettings) -> Summary:
    """Write what a run and its control came to, and seal the folder; return the document of ``summary.json``."""
    import pandas as pd

    result, followed = trained.result, trained.replayed.followed
    control = None if trained.control is None else rounds_table(trained.control.records)
    entries = [
        *planned_entries(plan, followed, result.attendance),
        *trained.replayed.entries,
        *result.measured.entries(),
    ]
    left_out = {(fault.client, fault.round) for fault in result.faults}
    summary = summarise(
        plan, LedgerSums.of_entries(entries, left_out), rounds_table(result.records), control, result.peak_bytes,
        trained.replayed.distinct_windows, levels_line(plan, trained.replayed),
    )  # fmt: skip
    events = (*result.events, *(fault.describe() for fault in result.faults))
    notes = (*summary.notes, *changes_notes(followed), *events)
    summary = summary.model_copy(update={"executor": settings.executor, "events": events, "notes": notes})
    with writing_to(folder.path, "every round is in its checkpoints: free some space, and go on with --resume"):
        if control is not None:
            folder.save_rounds(control, "control")
        folder.save_rounds(rounds_table(result.records, followed))
        folder.save_clients(pd.DataFrame([asdict(record) for record in result.clients], columns=list(CLIENT_COLUMNS)))
        ledger = Ledger.from_entries(entries)
        folder.save_ledger(ledger)
        folder.save_rounds(replayed_rounds(plan, ledger, followed), "replay")
        folder.save_followed(followed)
        folder.save_summary(summary)
        folder.list_all()
    return summary


def _check_links(plan: Plan, scenario: Scenario, num_rounds: int) -> None:
    """Replay before anything is trained where a trace does not repeat: it may end before the rounds do."""
    from hybridsplit.runtime.replay import replay
    from hybridsplit.scenarios.sections.traces import over_time

    traces = [over_time(group.link.trace) for group in scenario.clients if group.link.trace is not None]
    if any(trace.past_the_end != "loop" for trace in traces):
        replay(plan, scenario, num_rounds=num_rounds, samples_windows=True)


def worker_pool(scenario: Scenario, settings: RunSettings) -> Executor[Any]:
    """Return the executor that the settings ask for, to be used as a context manager."""
    from hybridsplit.runtime.split.compute import COMPUTE_DEVICES

    if settings.executor == "inline":
        from hybridsplit.runtime.executors.inline import InlineExecutor

        return InlineExecutor(scenario, devices=COMPUTE_DEVICES[settings.torch_device])
    from hybridsplit.runtime.executors.ray import RayExecutor

    devices = COMPUTE_DEVICES[settings.torch_device]
    return RayExecutor(scenario, settings.num_workers, address=settings.address, devices=devices)


def write_report(folder: RunFolder, *, bounds: str = STATED, round_shown: int | None = None) -> Path:
    """Render ``report.html`` from the files of a run folder.

    Parameters
    ----------
    folder
        The folder.
    bounds
        What to say of where the plan's bounds come from; empty where this process derived them.
    round_shown
        The round of the replay that is shown in time, from 0; the typical one when None.

    Raises
    ------
    AlteredError
        If a file was changed after the run wrote it.
    ContractError
        If the folder holds no complete run, a file is damaged, or files contradict each other.
    """
    import pandas as pd

    from hybridsplit.orchestrator.report import ReportData, render_report

    folder.check()
    summary, plan, rounds, control = folder.summary(), folder.plan(), folder.rounds(), folder.rounds("control")
    options, ledger = folder.options(), folder.ledger()
    followed = folder.followed(plan)
    check_run(folder.path, plan, summary, ledger, rounds, control, folder.clients(), folder.rounds("replay"), followed)
    peaks = summary.peak_bytes
    memory = pd.DataFrame(
        {
            "client": [c.id for c in plan.clients],
            "predicted_peak_bytes": predicted_peaks(plan, followed),
            "measured_peak_bytes": [float(peaks.get(c.id, float("nan"))) for c in plan.clients],
            "budget_bytes": [c.memory_budget_bytes for c in plan.clients],
        }
    )
    data = ReportData(
        scenario=validate_scenario(plan.scenario, f"{folder.path}/plan.json: scenario"),
        plan=plan,
        options=options,
        ledger=ledger,
        rounds=rounds if rounds is not None else pd.DataFrame(columns=list(ROUND_COLUMNS)),
        memory=memory,
        control=control,
        notes=tuple(note for note in summary.notes if note not in plan.notes),
        bounds=bounds,
        latencies=summary.round_latencies,
        round_shown=round_shown,
        disciplines=summary.disciplines,
        followed=followed,
    )
    page = render_report(data)
    with writing_to(folder.report, f"all else is there: 'hybridsplit report {folder.path}' draws the report again"):
        write_text_whole(folder.report, page)
    return folder.report
