"""Take the trained model out of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import JsonOption
from hybridsplit.orchestrator.console import print_json, progress_bar, reports_errors, stdout


@reports_errors
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to; a folder that does not exist.")],
    which: Annotated[
        str,
        typer.Option("--round", metavar="best|last|K", help="The best round, the last one, or the one after K."),
    ] = "best",
    as_json: JsonOption = False,
) -> None:
    """Save a run's trained model for transformers, PEFT or PyTorch."""
    from hybridsplit.orchestrator import exporting
    from hybridsplit.scenarios.units import counted

    with progress_bar(f"exporting {run}") as show:
        show("loading PyTorch, and building the model", 0.0)
        done = exporting.export(run, to, round=which)
    if as_json:
        print_json(
            {
                "folder": str(done.path),
                "rounds": done.rounds,
                done.score.column: done.test_score,
                "loads_with": done.loads_with,
            }
        )
        return
    reached = f"test {done.score.label} [bold]{done.score.text(done.test_score)}[/]"
    line = f"exported to [bold]{escape(str(done.path))}[/]: {reached} after {counted(done.rounds, 'round')}"
    stdout().print(line, highlight=False, soft_wrap=True)
    stdout().print(f"load it with {escape(done.loads_with)}", highlight=False, soft_wrap=True)
