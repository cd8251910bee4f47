"""A comparison over seeds as a table, and its differences in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from hybridsplit.scenarios.scores import ACCURACY, Score
from hybridsplit.scenarios.units import format_seconds

if TYPE_CHECKING:
    from hybridsplit.orchestrator.studies.over_seeds.study import SeedStudy, StrategyOverSeeds
    from hybridsplit.orchestrator.studies.significance import MeanOverSeeds

_WORDS = {
    "seconds_to_target": "seconds to the target",
    "bytes_to_target": "bytes to the target",
    "joules_to_target": "joules to the target",
}


def seeds_title(study: SeedStudy) -> str:
    """Return what the figures are, and what is to be reached.

    Parameters
    ----------
    study
        The comparison.
    """
    number = len(next(iter(study.runs.values())))
    title = f"Means over {number} seed{'s' if number > 1 else ''}, 95 % intervals in brackets"
    if study.target is None:
        return title
    value, is_score = study.target
    named = f"test {study.score.label} {study.score.text(value)}" if is_score else f"training loss {value:g}"
    return f"{title}; target: {named}"


def seeds_table(study: SeedStudy) -> Table:
    """Return one row a strategy: means over seeds with 95 % intervals.

    Parameters
    ----------
    study
        The comparison.
    """
    table = Table(
        title=seeds_title(study), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for name in ("strategy", study.score.label, "to target", "MB to target", "J to target", "fullest client"):
        table.add_column(name, justify="left" if name == "strategy" else "right")
    for one in study.strategies:
        table.add_row(
            one.strategy,
            *(escape(text) for text in figure_texts(one, study.score)),
            f"{one.fullest:.0%}",
        )
    return table


def figure_texts(one: StrategyOverSeeds, score: Score) -> tuple[str, str, str, str]:
    """Return the final score, and seconds, megabytes and joules to the target: means with intervals in brackets.

    Parameters
    ----------
    one
        What a strategy comes to.
    score
        What the model is judged by.
    """
    return (
        _shown(getattr(one, score.column), lambda value: score.text(min(value, 1.0)), score),
        _shown(one.seconds_to_target, format_seconds),
        _shown(one.bytes_to_target, lambda value: f"{value / 1e6:.3g}"),
        _shown(one.joules_to_target, lambda value: f"{value:.3g}"),
    )


def _shown(figure: MeanOverSeeds | None, text: Callable[[float], str], score: Score = ACCURACY) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return text(figure.mean)
    low = max(figure.low, 0.0) if score.is_fraction else figure.low
    return f"{text(figure.mean)} [{text(low)}, {text(figure.high)}]"


def verdict_lines(study: SeedStudy) -> list[str]:
    """Return what is a difference from the first strategy and what is not, by the intervals of paired differences.

    Parameters
    ----------
    study
        The comparison.
    """
    first = study.strategies[0].strategy
    lines = []
    for one in study.strategies[1:]:
        words = {study.score.column: f"final {study.score.label}"} | _WORDS
        said = ", ".join(f"{words[name]}: {word}" for name, word in one.verdicts.items())
        lines.append(f"{one.strategy} against {first}: {said}")
    return lines
