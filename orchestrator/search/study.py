"""Search: which model to train, by what training it takes and how good it becomes.

Every variant is planned for itself. Those whose test score nobody knows are ranked by a score before training; those on
the front of that score, or all, are then trained by their plans, at several seeds if asked for. What the score was
worth is measured on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.search.candidates import Candidate, candidates_of
from hybridsplit.orchestrator.search.front import (
    FrontPoint,
    Judged,
    RankCorrelation,
    front_of,
    gap_of,
    not_told_apart,
    rank_correlation,
)
from hybridsplit.orchestrator.search.results import ModelSearch, SearchedModel, SearchSettings
from hybridsplit.orchestrator.studies.over_seeds.runs import CutRun, SeedRun
from hybridsplit.orchestrator.studies.over_seeds.side_by_side import train_wanted
from hybridsplit.orchestrator.studies.significance import MeanOverSeeds, mean_over_seeds
from hybridsplit.profiler.untrained_scores import SCORES
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import score_for

if TYPE_CHECKING:
    from hybridsplit.orchestrator.pipeline import RunSettings


def search_models(
    scenario: Scenario,
    settings: SearchSettings,
    run: RunSettings,
    folder: Path,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> ModelSearch:
    """Plan every model, train some, and find the front of the test score against what the scenario minimises.

    Parameters
    ----------
    scenario
        With its variants.
    settings
        What is trained, and how models are ranked before.
    run
        Executor, workers and rounds of the training.
    folder
        Where every run is kept; those that it holds are not run again.
    on_progress
        Called with what is being done and the share of it that is done.

    Raises
    ------
    UsageError
        If there is nothing to search.
    ScenarioError, ProfileError
        If a variant cannot be built or profiled.
    BudgetExceededError, RunError
        If training fails.
    ContractError
        If a kept run is damaged.
    """

    def show(doing: str) -> Callable[[str, float], None]:
        return lambda what, share: on_progress(f"{doing} {what}", share)

    found = candidates_of(scenario, settings.strategy, show("planning"), scores=True)
    seeds = tuple(scenario.seed + place for place in range(settings.seeds))
    runs = _train(_to_train(found, settings), seeds, run, folder, show("training"))
    known = [_judged(one, runs.get(one.name, ())) for one in found]
    judged = [one for one in known if one is not None]
    by_score = not judged
    if by_score:
        judged = _by_score(found, settings.score)
    front = front_of(judged)
    unsure = frozenset() if by_score else not_told_apart(judged, front)
    return ModelSearch(
        scenario=scenario.name,
        minimises=scenario.objective.minimise,
        strategy=settings.strategy,
        score=settings.score,
        judged_by=score_for(scenario.model.problem_type),
        seeds=seeds,
        models=tuple(
            _row(one, runs.get(one.name, ()), settings.score, _place(one, judged, front, unsure)) for one in found
        ),
        front=front,
        by_score=by_score,
        correlations=_correlations(found, runs),
        candidates=found,
        runs=runs,
    )


def _to_train(found: Sequence[Candidate], settings: SearchSettings) -> list[Candidate]:
    """Return the models that are trained: of those with a plan and no known test score, all or the front of it."""
    unknown = [one for one in found if one.plan is not None and one.model.test_score is None]
    if settings.train == "none" or not unknown:
        return []
    if settings.train == "all":
        return unknown
    front = {point.name for point in front_of(_by_score(unknown, settings.score))}
    return [one for one in unknown if one.name in front]


def _by_score(found: Sequence[Candidate], score: str) -> list[Judged]:
    return [
        Judged(one.name, one.scores.by_name[score], *_cost(one), by_seed={})
        for one in found
        if one.plan is not None and one.scores is not None
    ]


def _cost(one: Candidate) -> tuple[float, float | None]:
    """Return what a candidate's plan minimises, and its bound, None where none is known."""
    plan = one.plan
    assert plan is not None
    if plan.objective_j is not None:
        return plan.objective_j, plan.lower_bound_j
    # The bound for any schedule is the one that holds, whatever the strategy.
    return plan.objective_s, plan.schedule_lower_bound_s


def _train(
    chosen: Sequence[Candidate],
    seeds: Sequence[int],
    settings: RunSettings,
    folder: Path,
    on_progress: Callable[[str, float], None],
) -> dict[str, tuple[SeedRun, ...]]:
    """Train models at every seed, but for the runs that the folder holds; return them by model."""
    wanted = [
        CutRun(one.name, one.plan, one.scenario.model_copy(update={"seed": seed}), one.options)
        for one in chosen
        for seed in seeds
        if one.plan is not None and one.options is not None
    ]
    runs: dict[str, list[SeedRun]] = {one.name: [] for one in chosen}
    for run in train_wanted(wanted, settings, folder, on_progress):
        runs[run.strategy].append(run)
    return {name: tuple(own) for name, own in runs.items()}


def _judged(one: Candidate, runs: Sequence[SeedRun]) -> Judged | None:
    """Return a model with its plan's cost and its test score; None where one of them is not known."""
    figure = _reached(one, runs)
    if one.plan is None or figure is None:
        return None
    return Judged(one.name, figure.mean, *_cost(one), by_seed={run.seed: run.test_score[-1] for run in runs})


def _reached(one: Candidate, runs: Sequence[SeedRun]) -> MeanOverSeeds | None:
    if one.model.test_score is not None:
        return MeanOverSeeds(mean=one.model.test_score, num_seeds=1)
    return mean_over_seeds([run.test_score[-1] for run in runs])


def _place(one: Candidate, judged: Sequence[Judged], front: Sequence[FrontPoint], unsure: frozenset[str]) -> str:
    if one.plan is None:
        return "no plan"
    if one.name in {point.name for point in front}:
        return "front"
    if one.name not in {other.name for other in judged}:
        return "not trained"
    return "not told apart" if one.name in unsure else "beaten"


def _row(one: Candidate, runs: Sequence[SeedRun], score: str, place: str) -> SearchedModel:
    plan = one.plan
    cost, lower_bound = (None, None) if plan is None else _cost(one)
    return SearchedModel(
        name=one.name,
        cost=cost,
        lower_bound=lower_bound,
        gap=None if cost is None else gap_of(cost, lower_bound),
        round_latency_s=None if plan is None else plan.round_latency_s,
        fullest_share=None
        if plan is None
        else max(client.client_peak_bytes / client.memory_budget_bytes for client in plan.clients),
        parameters=None if one.scores is None else one.scores.parameters,
        score=None if one.scores is None else one.scores.by_name[score],
        test_score=_reached(one, runs),
        test_score_is=one.model.test_score_is or ("trained" if runs else ""),
        place=place,
        infeasible=one.infeasible,
    )


def _correlations(found: Sequence[Candidate], runs: Mapping[str, Sequence[SeedRun]]) -> tuple[RankCorrelation, ...]:
    """Return what every score, and a third of the rounds, were worth on the models that were trained."""
    trained = [one for one in found if one.name in runs and one.scores is not None]
    reached = [_mean([run.test_score[-1] for run in runs[one.name]]) for one in trained]
    by_score = {name: [one.scores.by_name[name] for one in trained if one.scores is not None] for name in SCORES} | {
        "third of the rounds": [_mean([_early(run) for run in runs[one.name]]) for one in trained]
    }
    measured = [rank_correlation(name, values, reached) for name, values in by_score.items()]
    return tuple(one for one in measured if one is not None)


def _early(run: SeedRun) -> float:
    return run.test_score[max(0, len(run.test_score) // 3 - 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
