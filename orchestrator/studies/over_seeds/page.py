"""A comparison over seeds as one HTML page that needs no network and no other file."""

from __future__ import annotations

import html

import plotly.graph_objects as go

from hybridsplit.orchestrator.report.cells import Cell, Column, Table, percent
from hybridsplit.orchestrator.report.figures import styled, time_unit
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.orchestrator.report.palette import INK, SERIES
from hybridsplit.orchestrator.studies.over_seeds.study import SeedStudy, StrategyOverSeeds, figures_of, score_over_time
from hybridsplit.orchestrator.studies.significance import MeanOverSeeds
from hybridsplit.orchestrator.views.seeds import figure_texts, seeds_title, verdict_lines

_HEIGHT_PX = 420
_BAR_PX = 26


def study_page(study: SeedStudy, scenario: str) -> str:
    """Return the page.

    Parameters
    ----------
    study
        The comparison.
    scenario
        Name of its scenario.
    """
    figures = [("figure-learning", f"Test {study.score.label} over simulated time", drawn(_learning(study)))]
    reached = [(one, one.seconds_to_target) for one in study.strategies if one.seconds_to_target is not None]
    if study.target is not None and reached:
        figures.append(("figure-target", "Simulated time to the target", drawn(_to_target(reached))))
    values = {
        "scenario": scenario,
        "title": seeds_title(study),
        "verdicts": verdict_lines(study),
        "shapes": {},
        "figures": figures,
        "table": _table(study),
        "seeds": [run.seed for run in next(iter(study.runs.values()))],
    }
    title = f"{scenario}: strategies over seeds"
    return render_page("hybridsplit.orchestrator.studies.over_seeds", title, f"{scenario}-seeds", {}, values)


def _learning(study: SeedStudy) -> go.Figure:
    """The mean score over seeds, each strategy in a band of its 95 % interval."""
    in_percent = 100.0 if study.score.is_fraction else 1.0
    second_s, second = time_unit(max(run.simulated_s[-1] for own in study.runs.values() for run in own))
    figure = go.Figure()
    for place, (strategy, runs) in enumerate(study.runs.items()):
        colour, name = SERIES[place % len(SERIES)], html.escape(strategy)
        known = score_over_time(runs)
        times = [at_s / second_s for at_s, _ in known]
        edges = [(at, one.low, one.high) for at, (_, one) in zip(times, known, strict=True)]
        upper = [(at, in_percent * min(high, 1.0)) for at, _, high in edges if high is not None]
        least = 0.0 if study.score.is_fraction else float("-inf")
        lower = [(at, in_percent * max(low, least)) for at, low, _ in reversed(edges) if low is not None]
        if upper:
            figure.add_scatter(
                x=[at for at, _ in upper + lower], y=[value for _, value in upper + lower], fill="toself",
                fillcolor=colour, opacity=0.15, line={"width": 0}, hoverinfo="skip", showlegend=False,
                legendgroup=name, mode="lines",
            )  # fmt: skip
        figure.add_scatter(
            x=times, y=[in_percent * one.mean for _, one in known], name=name, legendgroup=name, mode="lines",
            line={"color": colour, "width": 2}, hovertemplate=f"{name}: %{{y:.4g}} after %{{x:.4g}}<extra></extra>",
        )  # fmt: skip
    if study.target is not None and study.target[1]:
        figure.add_hline(y=in_percent * study.target[0], line={"dash": "dot", "width": 1})
    styled(figure, rows=None, x_title=f"simulated time, {second}")
    unit = ", %" if study.score.is_fraction else ""
    figure.update_yaxes(title=f"test {study.score.label}{unit}")
    figure.update_layout(
        height=_HEIGHT_PX, showlegend=True, margin={"l": 8, "r": 16, "t": 44, "b": 44},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": None},
    )  # fmt: skip
    return figure


def _to_target(reached: list[tuple[StrategyOverSeeds, MeanOverSeeds]]) -> go.Figure:
    """A bar a strategy that reached the target at every seed, with its 95 % interval."""
    second_s, second = time_unit(max(figure.high or figure.mean for _, figure in reached))
    means = [figure.mean / second_s for _, figure in reached]
    figure = go.Figure()
    figure.add_bar(
        y=[html.escape(one.strategy) for one, _ in reached], x=means, orientation="h",
        marker={"color": SERIES[5]},
        error_x={"type": "data", "symmetric": False, "color": INK,
                 "array": [((one.high or one.mean) - one.mean) / second_s for _, one in reached],
                 "arrayminus": [(one.mean - max(one.low or 0.0, 0.0)) / second_s if one.low is not None else 0.0
                                for _, one in reached]},
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
    )  # fmt: skip
    styled(figure, rows=len(reached), x_title=f"simulated time to the target, {second}")
    figure.update_layout(
        height=90 + _BAR_PX * max(2, len(reached)), showlegend=False, margin={"l": 8, "r": 16, "t": 8, "b": 44}
    )
    return figure


def _table(study: SeedStudy) -> Table:
    score, names = study.score, figures_of(study.score)
    heads = (score.label[:1].upper() + score.label[1:], "Time to target", "MB to target", "J to target")
    shown = [place for place, name in enumerate(names) if any(getattr(one, name) for one in study.strategies)]
    judged = "seconds_to_target" if study.target is not None else score.column
    columns = (
        Column("Strategy"),
        *(Column(heads[place], is_number=True) for place in shown),
        Column("Fullest client", is_number=True),
        Column(f"{heads[names.index(judged)]}, against {study.strategies[0].strategy}"),
    )
    rows = []
    for one in study.strategies:
        texts, known = figure_texts(one, score), [getattr(one, name) for name in names]
        cells = [Cell(texts[place], None if known[place] is None else known[place].mean) for place in shown]
        word = one.verdicts.get(judged, "")
        rows.append((Cell(one.strategy), *cells, Cell(percent(one.fullest), one.fullest), Cell(word)))
    return Table(columns, tuple(rows))
