"""A search among models as one HTML page that needs no network and no other file."""

from __future__ import annotations

import html
import math
from typing import Any

import plotly.graph_objects as go

from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table, percent
from hybridsplit.orchestrator.report.figures import styled, time_unit
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.orchestrator.report.palette import MUTED
from hybridsplit.orchestrator.search.results import ModelSearch, SearchedModel
from hybridsplit.orchestrator.views.search import (
    ENOUGH_MODELS,
    correlation_text,
    cost_text,
    objective_name,
    reached_text,
    shown_models,
    value_text,
)
from hybridsplit.scenarios.units import format_seconds

_COLOURS = {"front": "#0072b2", "not told apart": "#e69f00", "beaten": "#999999", "not trained": "#999999"}
"""From the palette of Okabe and Ito (2008)."""
_SYMBOLS = {"front": "circle", "not told apart": "diamond", "beaten": "x-thin-open", "not trained": "x-thin-open"}
_HEIGHT_PX = 420


def search_page(search: ModelSearch) -> str:
    """Return the page.

    Parameters
    ----------
    search
        The search.
    """
    values = {
        "search": search,
        "objective": objective_name(search),
        "front_of": "score" if search.by_score else search.judged_by.label,
        "shapes": {},
        "figure_content": drawn(_scatter(search)),
        "table": _table(search),
        "front": [
            (point.name, value_text(search, point.value), cost_text(search, point.cost),
             "not known" if point.gap is None else percent(point.gap))
            for point in search.front
        ],
        "correlations": [(one.score.replace("_", " "), correlation_text(one)) for one in search.correlations],
        "num_correlated": search.correlations[0].num_models if search.correlations else 0,
        "enough": ENOUGH_MODELS,
        "unsure": [one.name for one in search.models if one.place == "not told apart"],
        "without_plan": [(one.name, one.infeasible) for one in search.models if one.infeasible],
    }  # fmt: skip
    title = f"{search.scenario}: which model"
    return render_page("hybridsplit.orchestrator.search", title, f"{search.scenario}-search", {}, values)


def _scatter(search: ModelSearch) -> go.Figure:
    """Every model with a plan, by what is minimised and its test score or rank; the front as steps."""
    unit_s, unit = 1.0, "J"
    known = [(one, value) for one in search.models if (value := _height(search, one)) is not None]
    if search.minimises != "energy":
        unit_s, unit = time_unit(max((one.cost or 0.0 for one, _ in known), default=1.0))
    figure = go.Figure()
    figure.add_scatter(
        x=[point.cost / unit_s for point in search.front],
        y=[_drawn(search, point.value) for point in search.front],
        mode="lines", line={"shape": "hv", "color": _COLOURS["front"], "width": 1}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for place, colour in _COLOURS.items():
        own = [(one, value) for one, value in known if one.place == place and one.cost is not None]
        if own:
            figure.add_scatter(
                x=[(one.cost or 0.0) / unit_s for one, _ in own],
                y=[value for _, value in own],
                error_y=_bars(search, [one for one, _ in own]) if not search.by_score else None,
                mode="markers", name=place, text=[html.escape(one.name) for one, _ in own],
                marker={"color": colour, "symbol": _SYMBOLS[place], "size": 9, "line": {"color": colour, "width": 2}},
                hovertemplate="%{text}: %{x:.4g}, %{y:.4g}<extra></extra>",
            )  # fmt: skip
    styled(figure, rows=None, x_title=f"{objective_name(search)}, {unit}")
    figure.update_layout(
        height=_HEIGHT_PX, showlegend=True, margin={"l": 56, "r": 16, "t": 44, "b": 44},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": None},
    )  # fmt: skip
    figure.update_xaxes(rangemode="tozero")
    judged = search.judged_by
    what = search.score.replace("_", " ") if search.by_score else f"test {judged.label}{', %' * judged.is_fraction}"
    figure.update_yaxes(title={"text": what, "font": {"size": 12, "color": MUTED}})
    return figure


def _height(search: ModelSearch, one: SearchedModel) -> float | None:
    """Return where a model stands in the figure; None where it does not."""
    if one.cost is None:
        return None
    if search.by_score:
        return one.score
    return None if one.test_score is None else _drawn(search, one.test_score.mean)


def _drawn(search: ModelSearch, value: float) -> float:
    """Return a value in the unit of the figure: fractions in percent."""
    return 100 * value if search.judged_by.is_fraction and not search.by_score else value


def _bars(search: ModelSearch, models: list[SearchedModel]) -> dict[str, Any]:
    """Return the intervals of test scores, as far as these go: none is above 1, and fractions end at 0."""
    least = 0.0 if search.judged_by.is_fraction else -math.inf
    above, below = [], []
    for one in models:
        figure = one.test_score
        if figure is None or figure.low is None or figure.high is None:
            above.append(0.0)
            below.append(0.0)
        else:
            above.append(_drawn(search, min(figure.high, 1.0) - figure.mean))
            below.append(_drawn(search, figure.mean - max(figure.low, least)))
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1}


def _table(search: ModelSearch) -> Table:
    columns = (
        Column("Model"),
        Column(objective_name(search).capitalize(), is_number=True),
        Column("Gap", is_number=True),
        Column("Round", is_number=True),
        Column("Fullest client", is_number=True),
        Column("Parameters", is_number=True),
        Column(search.judged_by.heading, is_number=True),
        Column("Place", has_filter=True),
    )
    rows = tuple(
        (
            Cell(one.name),
            NOTHING if one.cost is None else Cell(cost_text(search, one.cost), one.cost),
            NOTHING if one.gap is None else Cell(percent(one.gap), one.gap),
            NOTHING if one.round_latency_s is None else Cell(format_seconds(one.round_latency_s), one.round_latency_s),
            NOTHING if one.fullest_share is None else Cell(percent(one.fullest_share), one.fullest_share),
            NOTHING if one.parameters is None else Cell(f"{one.parameters:,.0f}", one.parameters),
            NOTHING if one.test_score is None else Cell(reached_text(search, one), one.test_score.mean),
            Cell(one.place),
        )
        for one in shown_models(search, shortens=False)
    )
    return Table(columns, rows)
