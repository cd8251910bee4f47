"""A comparison over seeds as files: a page, a table as CSV and LaTeX, and the score over simulated time as SVG."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from hybridsplit.orchestrator.report.palette import SERIES
from hybridsplit.orchestrator.studies.over_seeds.study import SeedStudy, figures_of, score_over_time
from hybridsplit.orchestrator.studies.significance import MeanOverSeeds
from hybridsplit.scenarios.contracts.files import write_text_whole

_WIDTH, _HEIGHT, _LEFT, _TOP = 760, 420, 60, 30
_RIGHT, _BOTTOM = 200, 50
_HEADS = {
    "seconds_to_target": "s to target",
    "bytes_to_target": "MB to target",
    "joules_to_target": "J to target",
}
_SCALE = {"bytes_to_target": 1e-6}


def write_study(study: SeedStudy, scenario: str, folder: Path) -> None:
    """Write ``comparison.html``, ``.csv`` and ``.tex``, and ``accuracy.svg``, which is named by the score.

    Parameters
    ----------
    study
        The comparison.
    scenario
        Name of its scenario.
    folder
        Where to.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    from hybridsplit.orchestrator.studies.over_seeds.page import study_page

    folder.mkdir(parents=True, exist_ok=True)
    write_text_whole(folder / "comparison.html", study_page(study, scenario))
    write_text_whole(folder / "comparison.csv", study.frame.to_csv(index=False))
    write_text_whole(folder / "comparison.tex", latex(study))
    write_text_whole(folder / figure_name(study), score_svg(study))


def figure_name(study: SeedStudy) -> str:
    """Return the file name of the figure: ``accuracy.svg``, ``macro_f1.svg`` or ``r2.svg``."""
    return f"{study.score.name}.svg"


def latex(study: SeedStudy) -> str:
    """Return a LaTeX table: mean and half of the interval, and the verdict on the difference from the first strategy.

    Parameters
    ----------
    study
        The comparison.
    """
    score = study.score
    heads = {score.column: score.label.replace("R²", "$R^2$")} | _HEADS
    scales = {score.column: 100.0 if score.is_fraction else 1.0} | _SCALE
    shown = [name for name in figures_of(score) if any(getattr(one, name) is not None for one in study.strategies)]
    lines = ["\\begin{tabular}{l" + "r" * len(shown) + "l}", "\\hline"]
    lines += [" & ".join(["strategy", *(heads[name] for name in shown), "against the first"]) + " \\\\", "\\hline"]
    for one in study.strategies:
        cells = [_cell(getattr(one, name), scales.get(name, 1.0)) for name in shown]
        word = one.verdicts.get("seconds_to_target") or one.verdicts.get(score.column, "")
        lines.append(" & ".join([one.strategy.replace("_", "\\_"), *cells, word]) + " \\\\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}", ""])


def _cell(figure: MeanOverSeeds | None, scale: float) -> str:
    if figure is None:
        return "--"
    if figure.low is None or figure.high is None:
        return f"{scale * figure.mean:.4g}"
    return f"${scale * figure.mean:.4g} \\pm {scale * (figure.high - figure.low) / 2:.2g}$"


def score_svg(study: SeedStudy) -> str:
    """Return the score over simulated time: a line a strategy, the mean over seeds, in a band of its 95 % interval.

    Parameters
    ----------
    study
        The comparison.
    """
    longest_s = max(run.simulated_s[-1] for own in study.runs.values() for run in own)
    lowest = _lowest(study)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        "<style>text {font-size: 12px}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for tick in range(6):
        value = lowest + (1.0 - lowest) * tick / 5
        y, x = _y(value, lowest), _x(longest_s * tick / 5, longest_s)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_tick(value, study)}</text>')
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{longest_s * tick / 5:.3g}</text>'
        )
    parts.append(f'<text x="{_LEFT}" y="{_TOP - 12}">test {study.score.label}</text>')
    parts.append(f'<text x="{(_WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 12}">simulated seconds</text>')
    if study.target is not None and study.target[1]:
        y = _y(study.target[0], lowest)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#888" stroke-dasharray="4"/>')
    for place, (strategy, runs) in enumerate(study.runs.items()):
        colour = SERIES[place % len(SERIES)]
        parts += _line(score_over_time(runs), longest_s, lowest, colour)
        y = _TOP + 18 * place
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 14}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 32}" y="{y + 10}">{escape(strategy)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _lowest(study: SeedStudy) -> float:
    """Where the axis begins: at 0, or at the least value of a score that goes below."""
    if study.score.is_fraction:
        return 0.0
    return min(0.0, *(min(run.test_score) for own in study.runs.values() for run in own))


def _tick(value: float, study: SeedStudy) -> str:
    return f"{100 * value:.0f} %" if study.score.is_fraction else f"{value:.2g}"


def _line(known: Sequence[tuple[float, MeanOverSeeds]], longest_s: float, lowest: float, colour: str) -> list[str]:
    mean = " ".join(f"{_x(s, longest_s):.1f},{_y(one.mean, lowest):.1f}" for s, one in known)
    parts = [f'<polyline points="{mean}" fill="none" stroke="{colour}" stroke-width="2"/>']
    edges = [(s, one.low, one.high) for s, one in known if one.low is not None and one.high is not None]
    if edges:
        upper = [f"{_x(s, longest_s):.1f},{_y(min(high, 1.0), lowest):.1f}" for s, _, high in edges]
        lower = [f"{_x(s, longest_s):.1f},{_y(max(low, lowest), lowest):.1f}" for s, low, _ in reversed(edges)]
        parts.append(f'<polygon points="{" ".join([*upper, *lower])}" fill="{colour}" opacity="0.15"/>')
    return parts


def _x(seconds: float, longest_s: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / max(longest_s, sys.float_info.min)


def _y(value: float, lowest: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1.0 - value) / (1.0 - lowest)
