"""A comparison over seeds as a table, and its differences in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from hybridsplit.scenarios.units import format_seconds

if TYPE_CHECKING:
    from hybridsplit.orchestrator.studies.seeds import SeedStudy
    from hybridsplit.orchestrator.studies.significance import MeanOverSeeds

_WORDS = {
    "test_accuracy": "final accuracy",
    "seconds_to_target": "seconds to the target",
    "bytes_to_target": "bytes to the target",
    "joules_to_target": "joules to the target",
}


def seeds_table(study: SeedStudy) -> Table:
    """Return one row a strategy: means over seeds with 95 % intervals.

    Parameters
    ----------
    study
        The comparison.
    """
    number = len(next(iter(study.runs.values())))
    title = f"Means over {number} seed{'s' if number > 1 else ''}, 95 % intervals in brackets"
    if study.target is not None:
        value, is_accuracy = study.target
        title += f"; target: {f'test accuracy {value:.1%}' if is_accuracy else f'training loss {value:g}'}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("strategy", "accuracy", "to target", "MB to target", "J to target", "fullest client"):
        table.add_column(name, justify="left" if name == "strategy" else "right")
    for one in study.strategies:
        table.add_row(
            one.strategy,
            _shown(one.test_accuracy, lambda value: f"{min(value, 1.0):.1%}"),
            _shown(one.seconds_to_target, format_seconds),
            _shown(one.bytes_to_target, lambda value: f"{value / 1e6:.3g}"),
            _shown(one.joules_to_target, lambda value: f"{value:.3g}"),
            f"{one.fullest:.0%}",
        )
    return table


def _shown(figure: MeanOverSeeds | None, text: Callable[[float], str]) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return text(figure.mean)
    return f"{text(figure.mean)} \\[{text(max(figure.low, 0.0))}, {text(figure.high)}]"


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
        said = ", ".join(f"{_WORDS[name]}: {word}" for name, word in one.verdicts.items())
        lines.append(f"{one.strategy} against {first}: {said}")
    return lines
