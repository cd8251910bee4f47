"""Strategies side by side: planned, trained, and trained at several seeds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridsplit.orchestrator.commands.options import (
    AddressOption,
    ExecutorName,
    ExecutorOption,
    JsonOption,
    LogOption,
    ScenarioArgument,
    SetOption,
    TorchDevice,
    TorchDeviceOption,
    WorkersOption,
    profile_loaded,
)
from hybridsplit.orchestrator.commands.seeds import Relaxed, check_study_options, compare_over_seeds, relaxed_overrides
from hybridsplit.orchestrator.console import print_json, progress_bar, reports_errors, stdout

if TYPE_CHECKING:
    from hybridsplit.orchestrator.studies.compare import Comparison


@reports_errors
def compare(
    scenario: ScenarioArgument,
    strategies: Annotated[
        str | None, typer.Option("--strategies", metavar="A,B,...", help="Strategies; all by default.")
    ] = None,
    train: Annotated[bool, typer.Option("--run", help="Also train with each plan and compare accuracy.")] = False,
    executor: ExecutorOption = ExecutorName.RAY,
    workers: WorkersOption = None,
    address: AddressOption = None,
    torch_device: TorchDeviceOption = TorchDevice.CPU,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=100, help="With --run: train at so many seeds, with intervals."),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=2, help="With --seeds: rounds; those of the scenario by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="With --seeds: keep every run here, and go on from it.")
    ] = None,
    log: LogOption = None,
    relax: Annotated[
        Relaxed | None, typer.Option("--relax", help="Offer all modes, so that methods meet their own best setting.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare strategies on the same problem, and say where the difference comes from."""
    from hybridsplit.orchestrator.logs.opening import RoundLogs, check_logs
    from hybridsplit.orchestrator.pipeline import RunSettings, default_workers
    from hybridsplit.scenarios.loader import load_task
    from hybridsplit.scenarios.schema import Scenario

    asked = [name.strip() for name in (strategies or "").split(",") if name.strip()]
    how = {
        "--executor": "" if executor is ExecutorName.RAY else executor.value,
        "--workers": workers,
        "--address": address,
        "--torch-device": "" if torch_device is TorchDevice.CPU else torch_device.value,
    }
    check_study_options(train=train, seeds=seeds, rounds=rounds, out=out, log=log or [], how=how)
    check_logs(log or [])
    loaded = load_task(scenario, overrides or [])
    if relax is not None:
        loaded = load_task(scenario, [*(overrides or []), *relaxed_overrides(loaded)])
    settings = RunSettings(
        executor.value, workers or default_workers(), rounds, address=address, torch_device=torch_device.value
    )
    if not isinstance(loaded, Scenario):
        from hybridsplit.scenarios.relays.schema import RelayScenario

        if isinstance(loaded, RelayScenario):
            from hybridsplit.orchestrator.commands.relays import compare_over_relays

            compare_over_relays(loaded, asked, settings if train else None, seeds, out, log or [], as_json=as_json)
            return
        from hybridsplit.orchestrator.commands.inference import compare_app_strategies

        compare_app_strategies(loaded, asked, train=train, as_json=as_json)
        return
    options = profile_loaded(loaded, asked)
    from hybridsplit.orchestrator.studies.compare import compare_plans, train_plans
    from hybridsplit.orchestrator.studies.over_seeds.runs import cuts_over_seeds
    from hybridsplit.solver.strategies import STRATEGIES

    with progress_bar(f"planning {loaded.name}") as show:
        comparison = compare_plans(loaded, options, asked or list(STRATEGIES), show)
    if train:
        with RoundLogs(log or [], loaded.name) as logs:
            if seeds is not None:
                wanted = partial(cuts_over_seeds, loaded, options, comparison.plans)
                why = [row.infeasible for row in comparison.rows if row.infeasible is not None]
                compare_over_seeds(loaded, seeds, wanted, why, settings, out, logs, as_json=as_json)
                return
            with progress_bar(f"training {loaded.name}") as show:
                comparison = train_plans(loaded, options, comparison, settings, show, logs.of)
    if as_json:
        print_json(comparison.document())
        return
    _print_comparison(comparison)


def _print_comparison(comparison: Comparison) -> None:
    from hybridsplit.orchestrator.views.tables import comparison_table, decomposition_table, infeasible_lines

    stdout().print(comparison_table(comparison.rows))
    if any(row.ratio is not None and row.ratio < 1 - 1e-6 for row in comparison.rows):
        stdout().print("below 1.00x: the search of optimal missed that plan; how much there can be is its gap")
    for line in infeasible_lines(comparison.rows):
        stdout().print(line, highlight=False, soft_wrap=True)
    stdout().print(decomposition_table(comparison.steps))
