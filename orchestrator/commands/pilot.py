"""Learn from short runs how many rounds plans need to a target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import (
    ExecutorName,
    ExecutorOption,
    JsonOption,
    ScenarioArgument,
    SetOption,
    WorkersOption,
    load_and_profile,
    writing,
)
from hybridsplit.orchestrator.console import print_json, progress_bar, reports_errors, stderr, stdout

_WITHOUT_TARGET = ("objective.minimise=time-to-progress", "objective.pilot_file=null", "objective.pilot=null")
"""Pilots are planned for progress: a scenario may name the file that is about to be written."""


@reports_errors
def pilot(
    scenario: ScenarioArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Write the constants here; curves are kept beside it.")
    ] = Path("pilot.json"),
    number: Annotated[int, typer.Option("--pilots", min=4, max=100, help="Pilot runs, a third of them checks.")] = 9,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=2, help="Most rounds of a pilot; those of the scenario by default.")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=1, max=20, help="Seeds that every pilot is run at; more of them lessen the noise."),
    ] = 1,
    only_costs: Annotated[bool, typer.Option("--costs", help="Print what the pilots would cost, and stop.")] = False,
    executor: ExecutorOption = ExecutorName.INLINE,
    workers: WorkersOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from a few short runs how many rounds plans need to a target accuracy or loss."""
    loaded, options = load_and_profile(scenario, [*(overrides or []), *_WITHOUT_TARGET])
    from hybridsplit.orchestrator.pipeline import RunSettings, default_workers, worker_pool
    from hybridsplit.orchestrator.studies.pilot import design_pilots, run_pilots
    from hybridsplit.orchestrator.views.pilot import cost_line, study_lines
    from hybridsplit.scenarios.pilot_files import write_pilot_file

    with progress_bar(f"designing pilots of {loaded.name}") as show:
        design = design_pilots(loaded, options, number, rounds or loaded.training.rounds, show, num_seeds=seeds)
    costs: dict[str, Any] = {
        "pilots": len(design.pilots),
        "seeds": len(design.seeds),
        "rounds": design.num_rounds,
        "simulated_s": design.seconds,
        "of_run": design.of_run,
    }
    if only_costs and as_json:
        print_json({"costs": costs})
        return
    (stdout() if only_costs else stderr()).print(cost_line(design), highlight=False, soft_wrap=True)
    if only_costs:
        return
    settings = RunSettings(executor.value, workers or default_workers())
    folder = out.with_name(f"{out.stem}-runs")
    with progress_bar(f"pilots of {loaded.name}") as show:
        study = run_pilots(loaded, options, design, lambda own: worker_pool(own, settings), folder, show)
    writing(out, lambda: write_pilot_file(out, study.constants, list(study.runs)))
    if as_json:
        print_json({"costs": costs, "constants": study.constants.model_dump(mode="json"), "runs": list(study.runs)})
        return
    for line in study_lines(study):
        stdout().print(line, highlight=False, soft_wrap=True)
    stderr().print(f"constants written to {escape(str(out))}; name it under objective.pilot_file")
