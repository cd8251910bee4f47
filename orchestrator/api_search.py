"""The Python interface of a search among models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.api import AnyScenario, as_task
from hybridsplit.orchestrator.api_runs import nothing_trained, one_cut_alone, run_settings
from hybridsplit.orchestrator.search.results import DEFAULT_SCORE, SearchSettings, Trained
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.strategies import find_strategy

if TYPE_CHECKING:
    from hybridsplit.orchestrator.search.results import ModelSearch


def search(
    scenario: AnyScenario,
    *,
    train: Trained = "front",
    rounds: int | None = None,
    seeds: int = 1,
    score: str = DEFAULT_SCORE,
    strategy: str = "optimal",
    executor: str = "inline",
    workers: int | None = None,
    out: str | Path | None = None,
) -> ModelSearch:
    """Plan every model of a scenario's ``variants``, train some, and find the front of accuracy against cost.

    Parameters
    ----------
    scenario
        A scenario, or what :func:`hybridsplit.load` takes.
    train
        Of the models whose accuracy the scenario does not state: those on the ``front`` of the score, ``all``, or
        ``none``.
    rounds
        Rounds to train; the scenario's when None.
    seeds
        Seeds to train at: the scenario's own and those that follow it.
    score
        What models are ranked by before training: ``parameters``, ``operations``, ``gradient_norm`` or ``saliency``.
    strategy
        How to plan.
    executor, workers
        As for :func:`hybridsplit.run`.
    out
        Folder for runs, table, page, and scenarios and plans of the front; runs that it holds are not run again.
        Nothing is kept when None.

    Raises
    ------
    UsageError
        If the scenario has no variants, or a setting is none.
    ScenarioError, ProfileError
        If a variant cannot be built or profiled.
    BudgetExceededError, RunError
        If training fails.
    """
    from hybridsplit.orchestrator.search.files import write_search
    from hybridsplit.orchestrator.search.study import search_models

    loaded = as_task(scenario)
    if isinstance(loaded, InferenceScenario):
        raise nothing_trained("search")
    if not isinstance(loaded, Scenario):
        raise one_cut_alone("search")
    settings = SearchSettings(find_strategy(strategy).name, train, score, seeds)
    run = run_settings(executor, workers, rounds)
    if out is not None:
        found = search_models(loaded, settings, run, Path(out))
        write_search(found, Path(out))
        return found
    with tempfile.TemporaryDirectory(prefix="hybridsplit-") as folder:
        return search_models(loaded, settings, run, Path(folder))
