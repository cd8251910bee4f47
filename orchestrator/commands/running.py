"""Carry out: train by a plan, replay its network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import (
    AddressOption,
    ChosenStrategyOption,
    ExecutorName,
    ExecutorOption,
    JsonOption,
    LogOption,
    ScenarioArgument,
    SetOption,
    TorchDevice,
    TorchDeviceOption,
    WorkersOption,
)
from hybridsplit.orchestrator.console import print_before_work, print_json, progress_bar, reports_errors, stdout

if TYPE_CHECKING:
    from hybridsplit.orchestrator.run_folder import RunFolder
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.plan import Plan
    from hybridsplit.scenarios.contracts.summary import Summary
    from hybridsplit.scenarios.schema import Scenario


@reports_errors
def run(
    scenario: ScenarioArgument,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", metavar="plan.json", help="Use this plan instead of planning.")
    ] = None,
    strategy: ChosenStrategyOption = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, max=1_000_000, help="Rounds; the scenario's by default.")
    ] = None,
    executor: ExecutorOption = ExecutorName.RAY,
    workers: WorkersOption = None,
    address: AddressOption = None,
    torch_device: TorchDeviceOption = TorchDevice.CPU,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Run folder; runs/NAME by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last complete round.")] = False,
    log: LogOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train by the plan while the network is replayed, and report."""
    from hybridsplit.orchestrator import pipeline
    from hybridsplit.orchestrator.folder_choice import choose_folder
    from hybridsplit.scenarios.errors import UsageError
    from hybridsplit.scenarios.loader import load_trained
    from hybridsplit.scenarios.schema import Scenario

    if address is not None and executor is not ExecutorName.RAY:
        raise UsageError("--address names a Ray cluster: leave it out, or use --executor ray")
    if strategy is not None and (resume or plan_file is not None):
        raise UsageError("--strategy makes a plan, and --resume and --plan bring one: leave --strategy out")
    from hybridsplit.orchestrator.logs.opening import RoundLogs, check_logs

    check_logs(log or [])
    loaded = load_trained(scenario, overrides or [])
    settings = pipeline.RunSettings(
        executor.value, workers or pipeline.default_workers(), rounds, resume, address, torch_device.value
    )
    if not isinstance(loaded, Scenario):
        from hybridsplit.orchestrator.commands.relays import run_over_relays

        run_over_relays(loaded, plan_file, strategy, settings, out, log or [], as_json=as_json)
        return
    from hybridsplit.solver.strategies import find_strategy

    chosen = find_strategy(strategy or "optimal").name
    folder = choose_folder(out.resolve() if out is not None else None, loaded.name, resume=resume)
    with folder.claimed():
        plan, options, bounds = _plan_of_run(loaded, folder, plan_file, chosen, resume=resume, quiet=as_json)
        with RoundLogs(log or [], loaded.name) as logs, progress_bar(f"training {loaded.name}") as show:
            summary = pipeline.run_plan(
                loaded, options, plan, folder, settings, show, bounds=bounds, on_round=logs.of(plan)
            )
    if as_json:
        print_json(_document(summary, folder))
        return
    _print_run(summary, folder)


def _plan_of_run(
    scenario: Scenario, folder: RunFolder, plan_file: Path | None, strategy: str, *, resume: bool, quiet: bool
) -> tuple[Plan, OptionTable, str]:
    """Return the plan a run goes by, made now or found and verified, and where its bounds come from; print it."""
    from hybridsplit.orchestrator import pipeline
    from hybridsplit.orchestrator.plan_file import STATED, check_plan
    from hybridsplit.orchestrator.run_folder import open_plan

    plan = open_plan(plan_file)[0] if plan_file is not None else None
    if resume:
        plan = pipeline.check_begun(folder, plan, str(plan_file))
    if plan is not None:
        origin = str(plan_file or folder.path / "plan.json")
        pipeline.check_same_scenario(plan, scenario, origin)
    with progress_bar(f"profiling {scenario.name}") as show:
        show("loading PyTorch, and checking the data", 0.0)
        pipeline.check_data(scenario)
        from hybridsplit.profiler.options import profile_scenario

        options = profile_scenario(scenario, show)
    bounds = ""
    if plan is not None:
        check_plan(plan, scenario, options, origin)
        bounds = STATED
    else:
        from hybridsplit.orchestrator.planned import plan_as_asked

        with progress_bar(f"planning {scenario.name}") as show:
            show(f"{strategy}, {scenario.num_clients} clients", 0.0)
            plan = plan_as_asked(scenario, options, strategy, on_progress=show)
    if not quiet:
        from hybridsplit.orchestrator.views.tables import plan_headline, plan_table

        print_before_work(plan_table(plan), plan_headline(plan, bounds), where=str(folder.path))
    return plan, options, bounds


def _document(summary: Summary, folder: RunFolder | None) -> dict[str, Any]:
    document = summary.model_dump(mode="json")
    return document if folder is None else document | {"report": str(folder.report)}


def _print_run(summary: Summary, folder: RunFolder) -> None:
    from hybridsplit.orchestrator.ledger_sums import LedgerSums
    from hybridsplit.orchestrator.recordings import latencies_line
    from hybridsplit.orchestrator.replanning.words import changes_line, changes_lines, predicted_peaks
    from hybridsplit.orchestrator.views.tables import memory_line, truth_table
    from hybridsplit.scenarios.units import counted, format_seconds

    stdout().print(truth_table(LedgerSums.of_entries(list(folder.ledger().entries()))))
    plan = folder.plan()
    followed = folder.followed(plan)
    line = memory_line(plan, summary.peak_bytes, predicted_peaks(plan, followed))
    stdout().print(line, highlight=False)
    if followed is not None:
        for line in (changes_line(followed), *changes_lines(followed)):
            stdout().print(escape(line), highlight=False, soft_wrap=True)
    for note in summary.events:
        stdout().print(f"[yellow]{escape(note)}[/]", highlight=False)
    score, reached, frozen = summary.score, summary.test_score, summary.frozen_control_score
    assert reached is not None, "a run trains"
    line = f"test {score.label} [bold]{score.text(reached)}[/] after {counted(summary.num_rounds, 'round')}"
    if frozen is not None:
        line += f" (all client parts frozen: {score.text(frozen)})"
    stdout().print(f"{line}, {format_seconds(summary.simulated_s)} of simulated time", highlight=False)
    if summary.round_latencies is not None:
        line = latencies_line(summary.round_latencies, summary.num_rounds)
        stdout().print(escape(line), highlight=False, soft_wrap=True)
    stdout().print(f"report: [bold]{escape(str(folder.report))}[/]", highlight=False, soft_wrap=True)
