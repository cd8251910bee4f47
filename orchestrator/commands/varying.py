"""Vary: what a plan would be if single keys were others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import (
    JsonOption,
    ScenarioArgument,
    SetOption,
    StrategyOption,
    writing,
)
from hybridsplit.orchestrator.console import print_json, progress_bar, reports_errors, stderr, stdout


@reports_errors
def what_if(
    scenario: ScenarioArgument,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY.PATH=VALUE,...",
            help="Values of a key, or factors of what the scenario says (0.5x); repeatable, for all combinations.",
        ),
    ] = None,
    strategy: StrategyOption = "optimal",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F.html|F.json", help="Write table and plots, or the figures, here.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan for every combination of other values: round, time to progress, memory, energy and cost side by side."""
    import json

    from hybridsplit.orchestrator.relays.what_if import cells_by
    from hybridsplit.orchestrator.studies.what_if import parse_varied
    from hybridsplit.orchestrator.studies.what_if import what_if as study_of
    from hybridsplit.scenarios.contracts.files import write_text_whole
    from hybridsplit.scenarios.errors import UsageError
    from hybridsplit.scenarios.loader import load_trained

    varied = parse_varied(vary or [])
    if out is not None and out.suffix not in (".html", ".json"):
        raise UsageError(f"--out {out}: needs a name that ends in .html (table and plots) or .json (the figures)")
    loaded = load_trained(scenario, overrides or [])
    cell_of = cells_by(loaded, strategy)
    with progress_bar(f"planning {loaded.name}") as show:
        study = study_of(loaded, varied, strategy, show, cell_of)
    if out is not None:
        if out.suffix == ".json":
            text = json.dumps(study.document(), indent=1, allow_nan=False) + "\n"
        else:
            from hybridsplit.orchestrator.studies.what_if_page import what_if_page

            text = what_if_page(study)
        writing(out, lambda: write_text_whole(out, text))
    if as_json:
        print_json(study.document())
        return
    from hybridsplit.orchestrator.views.what_if import infeasible_lines, what_if_table

    stdout().print(what_if_table(study))
    for line in infeasible_lines(study):
        stdout().print(line, highlight=False, soft_wrap=True)
    if out is not None:
        stderr().print(f"study written to {escape(str(out))}")
