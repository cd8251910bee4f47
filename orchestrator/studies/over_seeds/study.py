"""Strategies trained at several seeds: every run kept in a folder, and what a reader can compare.

A strategy plans once, at the scenario's own seed; the plan is then trained at that seed and those that follow it, which
draw weights, partition and batches anew. Strategies are compared seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridsplit.orchestrator.studies.over_seeds.runs import SeedRun, WantedRun
from hybridsplit.orchestrator.studies.over_seeds.side_by_side import OnRoundsOf, train_wanted
from hybridsplit.orchestrator.studies.significance import MeanOverSeeds, mean_over_seeds, verdict
from hybridsplit.profiler.rounds_to import rounds_to
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.scores import ACCURACY, Score, score_called

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.orchestrator.pipeline import RunSettings

_TO_TARGET = ("seconds_to_target", "bytes_to_target", "joules_to_target")


def figures_of(score: Score) -> tuple[str, ...]:
    """Return what is compared: the final score, and what it took to reach the target.

    Parameters
    ----------
    score
        What the model is judged by.
    """
    return (score.column, *_TO_TARGET)


class StrategyOverSeeds(FrozenValue):
    """What a strategy comes to over all seeds; figures are None where some run did not reach the target."""

    strategy: str
    test_accuracy: MeanOverSeeds | None = None
    test_macro_f1: MeanOverSeeds | None = None
    test_r2: MeanOverSeeds | None = None
    seconds_to_target: MeanOverSeeds | None = None
    bytes_to_target: MeanOverSeeds | None = None
    joules_to_target: MeanOverSeeds | None = None
    fullest: float
    minus_first: Mapping[str, MeanOverSeeds | None]
    """By figure, this strategy's minus the first one's, seed by seed; empty for the first."""
    verdicts: Mapping[str, str]
    """By figure, whether that is a difference, in words; empty for the first."""


@dataclass(frozen=True)
class SeedStudy:
    """Strategies over seeds.

    Parameters
    ----------
    target
        What is to be reached, and whether more of it is better; None where the scenario states no target.
    runs
        By strategy, a run a seed.
    strategies
        Summaries, in the order asked for.
    score
        What the model is judged by.
    """

    target: tuple[float, bool] | None
    runs: Mapping[str, tuple[SeedRun, ...]]
    strategies: tuple[StrategyOverSeeds, ...]
    score: Score = ACCURACY

    @property
    def frame(self) -> pd.DataFrame:
        """One row a strategy: every figure with its interval, and its difference from the first strategy."""
        import pandas as pd

        rows = []
        for one in self.strategies:
            row: dict[str, Any] = {"strategy": one.strategy}
            for name in figures_of(self.score):
                row |= _columns(name, getattr(one, name))
            row["fullest"] = one.fullest
            for name in figures_of(self.score):
                row |= _columns(f"{name}_minus_first", one.minus_first.get(name))
                row[f"{name}_verdict"] = one.verdicts.get(name, "")
            rows.append(row)
        return pd.DataFrame(rows)

    def document(self) -> dict[str, Any]:
        """Return plain values."""
        return {"target": self.target, "strategies": [one.model_dump(mode="json") for one in self.strategies]}


def _columns(name: str, figure: MeanOverSeeds | None) -> dict[str, float | None]:
    if figure is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: figure.mean, f"{name}_low": figure.low, f"{name}_high": figure.high}


def train_over_seeds(
    wanted: Sequence[WantedRun],
    target: tuple[float, bool] | None,
    settings: RunSettings,
    folder: Path,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    on_rounds_of: OnRoundsOf = lambda one: lambda run, done: None,
) -> SeedStudy:
    """Train every plan at every seed; runs that the folder holds are not run again.

    Parameters
    ----------
    wanted
        By seed, every strategy; the first strategy is what the others are compared with.
    target
        What is to be reached, and whether more of it is better; None for no target.
    settings
        Executor, workers and rounds.
    folder
        Where every run is kept.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].
    on_rounds_of
        By run, what to call after every round of its training.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    ContractError
        If a kept run is damaged.
    """
    runs: dict[str, list[SeedRun]] = {one.name: [] for one in wanted}
    for run in train_wanted(wanted, settings, folder, on_progress, on_rounds_of):
        runs[run.strategy].append(run)
    return summarised({strategy: tuple(own) for strategy, own in runs.items()}, target)


def summarised(runs: Mapping[str, tuple[SeedRun, ...]], target: tuple[float, bool] | None) -> SeedStudy:
    """Compare strategies over seeds.

    Parameters
    ----------
    runs
        By strategy, a run a seed, the same seeds in the same order.
    target
        What is to be reached, and whether more of it is better; None for no target.
    """
    score = score_called(next(iter(runs.values()))[0].score)
    names = figures_of(score)
    figures = {strategy: _figures(own, target, score) for strategy, own in runs.items()}
    first = next(iter(figures.values()))
    known = {name for name in names if any(math.isfinite(value) for own in figures.values() for value in own[name])}
    strategies = []
    for strategy, own in figures.items():
        minus, words = {}, {}
        for name in names if own is not first else ():
            pairs = zip(own[name], first[name], strict=True)
            minus[name] = mean_over_seeds([one - other for one, other in pairs])
            if name in known:
                words[name] = verdict(minus[name], less_is_better=name != score.column)
        strategies.append(
            StrategyOverSeeds(
                strategy=strategy,
                fullest=max(run.fullest for run in runs[strategy]),
                minus_first=minus,
                verdicts=words,
                **{name: mean_over_seeds(own[name]) for name in names},
            )
        )
    return SeedStudy(target, runs, tuple(strategies), score)


def score_over_time(runs: Sequence[SeedRun], points: int = 80) -> list[tuple[float, MeanOverSeeds]]:
    """Return the mean score over seeds at equally spaced simulated seconds, as long as all runs go on.

    Between rounds the score goes straight; before the first one ends it is that of the first.

    Parameters
    ----------
    runs
        One a seed.
    points
        How many.
    """
    seconds = np.linspace(0.0, min(run.simulated_s[-1] for run in runs), points)
    scores = np.array([np.interp(seconds, run.simulated_s, run.test_score) for run in runs])
    found = [(at_s, mean_over_seeds(column.tolist())) for at_s, column in zip(seconds.tolist(), scores.T, strict=True)]
    return [(at_s, figure) for at_s, figure in found if figure is not None]


def _figures(runs: Sequence[SeedRun], target: tuple[float, bool] | None, score: Score) -> dict[str, list[float]]:
    """By figure, its value at every seed; infinite where the target was not reached, or is none."""
    found: dict[str, list[float]] = {name: [] for name in figures_of(score)}
    for run in runs:
        rounds = math.inf
        if target is not None:
            values = run.test_score if target[1] else [math.inf if v is None else v for v in run.train_loss]
            rounds = rounds_to(values, target[0], rising=target[1])
        found[score.column].append(run.test_score[-1])
        found["seconds_to_target"].append(_at(run.simulated_s, rounds))
        found["bytes_to_target"].append(rounds * run.bytes_a_round)
        found["joules_to_target"].append(math.inf if run.joules_a_round is None else rounds * run.joules_a_round)
    return found


def _at(ends_s: Sequence[float], rounds: float) -> float:
    """Seconds after a number of rounds, with fractions; infinite for infinitely many."""
    if not math.isfinite(rounds):
        return math.inf
    whole = min(int(rounds), len(ends_s))
    before_s = ends_s[whole - 1] if whole else 0.0
    after_s = ends_s[min(whole, len(ends_s) - 1)]
    return before_s + (rounds - whole) * (after_s - before_s)
