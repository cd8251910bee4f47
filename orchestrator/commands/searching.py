"""Search: which of several models to train."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hybridsplit.orchestrator.commands.options import (
    AddressOption,
    ExecutorName,
    ExecutorOption,
    JsonOption,
    ScenarioArgument,
    SetOption,
    StrategyOption,
    WorkersOption,
    writing,
)
from hybridsplit.orchestrator.console import print_json, progress_bar, reports_errors, stderr, stdout


class TrainedModels(StrEnum):
    """Which models ``search`` trains."""

    FRONT = "front"
    ALL = "all"
    NONE = "none"


class Score(StrEnum):
    """By what ``search`` ranks models before training."""

    PARAMETERS = "parameters"
    OPERATIONS = "operations"
    GRADIENT_NORM = "gradient-norm"
    SALIENCY = "saliency"


@reports_errors
def search(
    scenario: ScenarioArgument,
    train: Annotated[
        TrainedModels,
        typer.Option("--train", help="Of the models whose accuracy is unknown: the front of the score, all, or none."),
    ] = TrainedModels.FRONT,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, max=1_000_000, help="Rounds to train; the scenario's by default.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Seeds to train at.")] = 1,
    score: Annotated[
        Score, typer.Option("--score", help="What models are ranked by before training.")
    ] = Score.OPERATIONS,
    strategy: StrategyOption = "optimal",
    executor: ExecutorOption = ExecutorName.INLINE,
    workers: WorkersOption = None,
    address: AddressOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of runs and page; search-NAME by default."),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan every model of a scenario's variants, train some, and show their test score against what training takes."""
    from hybridsplit.orchestrator.pipeline import RunSettings, default_workers
    from hybridsplit.orchestrator.search.files import write_search
    from hybridsplit.orchestrator.search.results import SearchSettings
    from hybridsplit.orchestrator.search.study import search_models
    from hybridsplit.scenarios.errors import UsageError
    from hybridsplit.scenarios.loader import load_scenario
    from hybridsplit.solver.strategies import find_strategy

    if address is not None and executor is not ExecutorName.RAY:
        raise UsageError("--address names a Ray cluster: leave it out, or use --executor ray")
    loaded = load_scenario(scenario, overrides or [])
    settings = SearchSettings(find_strategy(strategy).name, train.value, score.value.replace("-", "_"), seeds)
    folder = out or Path(f"search-{loaded.name}")
    run = RunSettings(executor.value, workers or default_workers(), rounds, address=address)
    with progress_bar(f"searching {loaded.name}") as show:
        found = search_models(loaded, settings, run, folder, show)
    writing(folder / "models.csv", lambda: write_search(found, folder))
    if as_json:
        print_json(found.document())
        return
    from hybridsplit.orchestrator.views.search import search_lines, search_table

    stdout().print(search_table(found))
    for line in search_lines(found):
        stdout().print(line, highlight=False, soft_wrap=True)
    stderr().print(
        f"search.html, models.csv, and scenarios and plans of the front are in {escape(str(folder))}",
        soft_wrap=True,
    )
