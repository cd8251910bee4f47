"""``compare --run --seeds``: strategies trained at several seeds, with every run kept."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from hybridsplit.orchestrator.commands.options import writing
from hybridsplit.orchestrator.console import print_json, progress_bar, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hybridsplit.orchestrator.logs.opening import RoundLogs
    from hybridsplit.orchestrator.pipeline import RunSettings
    from hybridsplit.orchestrator.studies.over_seeds.runs import WantedRun
    from hybridsplit.orchestrator.training import OnRound
    from hybridsplit.scenarios.relays.schema import RelayScenario
    from hybridsplit.scenarios.schema import Scenario


class Relaxed(StrEnum):
    """What ``compare`` may relax."""

    MODES = "modes"


def check_study_options(
    *,
    train: bool,
    seeds: int | None,
    rounds: int | None,
    out: Path | None,
    log: Sequence[str],
    how: Mapping[str, str | int | None],
) -> None:
    """Refuse options of training where there is none, and of a study where none is made.

    Parameters
    ----------
    train, seeds, rounds, out, log
        Options of ``compare``.
    how
        By option, how to train, where that is stated; None or empty where it is not.

    Raises
    ------
    UsageError
        If one is given without those it needs.
    """
    from hybridsplit.scenarios.errors import UsageError

    if seeds is not None and not train:
        raise UsageError("--seeds: needs --run, since seeds matter to training alone: add --run")
    if log and not train:
        raise UsageError("--log: needs --run, since only training has rounds to write: add --run")
    if not train and (idle := [name for name, value in how.items() if value]):
        raise UsageError(f"{', '.join(idle)}: needs --run, since without it nothing is trained: add --run")
    for name, value in (("--rounds", rounds), ("--out", out)):
        if value is not None and seeds is None:
            raise UsageError(f"{name}: needs --seeds, the number of seeds to train at: add --run --seeds 5")


def relaxed_overrides(loaded: object) -> list[str]:
    """Return settings that offer every mode that a scenario allows beside each other.

    Parameters
    ----------
    loaded
        The scenario.

    Raises
    ------
    UsageError
        If its clients have no modes.
    """
    from hybridsplit.scenarios.errors import UsageError
    from hybridsplit.scenarios.schema import Scenario

    if not isinstance(loaded, Scenario):
        raise UsageError("--relax modes: is about one cut, where every client trains in a mode: leave it out")
    every = dict.fromkeys([*loaded.training.modes, "fo", "fo-recompute", "zo-projection", "zo-loss"])
    return [f"training.modes=[{', '.join(every)}]"]


def compare_over_seeds(
    scenario: Scenario | RelayScenario,
    seeds: int,
    runs_at: Callable[[Sequence[int]], Sequence[WantedRun]],
    infeasible: Sequence[str],
    settings: RunSettings,
    out: Path | None,
    logs: RoundLogs,
    *,
    as_json: bool,
) -> None:
    """Train the plans of a comparison at several seeds, write what a reader can use, and print it.

    Parameters
    ----------
    scenario
        The scenario.
    seeds
        How many: the scenario's own and those that follow it.
    runs_at
        Given seeds, returns the runs: by seed, every strategy that has a plan.
    infeasible
        Why others have none, a line each.
    settings
        Executor, workers and rounds.
    out
        Folder of the study, named after the scenario when None.
    logs
        Where rounds are written.
    as_json
        Whether to print one JSON document.

    Raises
    ------
    InfeasibleError
        If no strategy has a plan.
    """
    from hybridsplit.orchestrator.studies.over_seeds.files import figure_name, write_study
    from hybridsplit.orchestrator.studies.over_seeds.study import train_over_seeds
    from hybridsplit.orchestrator.views.seeds import seeds_table, verdict_lines
    from hybridsplit.scenarios.errors import InfeasibleError

    folder = out or Path(f"comparison-{scenario.name}")
    at = [scenario.seed + k for k in range(seeds)]
    wanted = runs_at(at)
    if not wanted:
        raise InfeasibleError("\n".join(infeasible))

    def written(one: WantedRun) -> OnRound:
        seed = one.scenario.seed
        return logs.of(one.plan, f"{one.name}-seed-{seed}", seed)

    with progress_bar(f"training {scenario.name}") as show:
        study = train_over_seeds(wanted, scenario.objective.target, settings, folder, show, written)
    writing(folder / "comparison.csv", lambda: write_study(study, scenario.name, folder))
    if as_json:
        print_json({"scenario": scenario.name, "seeds": at, **study.document()})
        return
    stdout().print(seeds_table(study))
    for line in [*verdict_lines(study), *(escape(why) for why in infeasible)]:
        stdout().print(line, highlight=False, soft_wrap=True)
    stderr().print(f"runs, comparison.csv, comparison.tex and {figure_name(study)} are in {escape(str(folder))}")
    page = folder / "comparison.html"
    stdout().print(f"report: [bold]{escape(str(page))}[/]", highlight=False, soft_wrap=True)
