"""A what-if study as one HTML page that needs no network and no other file."""

from __future__ import annotations

import html
from collections.abc import Callable

import plotly.graph_objects as go

from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table, percent
from hybridsplit.orchestrator.report.figures import styled, time_unit
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.orchestrator.report.palette import ACCENT, SERIES
from hybridsplit.orchestrator.studies import what_if, what_if_cells
from hybridsplit.orchestrator.studies.what_if import WhatIf
from hybridsplit.scenarios.units import format_joules, format_seconds

_PROVEN = 1e-6
_BAR_PX = 22


def what_if_page(study: WhatIf) -> str:
    """Return the page.

    Parameters
    ----------
    study
        The study.
    """
    is_energy = study.minimises == "energy"
    objective = study.minimises.replace("-", " ")
    longest_s = max((cell.round_latency_s or 0.0 for cell in study.cells), default=1.0)
    second_s, second = time_unit(longest_s)
    shown: list[tuple[str, str, Callable[[what_if_cells.Cell], float | None]]] = [
        ("objective", f"{objective}, {'J' if is_energy else second}", lambda cell: cell.objective),
        ("round", f"round latency, {second}", lambda cell: cell.round_latency_s),
        ("memory", "fullest client, % of its budget", lambda cell: _times(cell.fullest_share, 100.0)),
        ("energy", "energy a round, J", lambda cell: cell.energy_j),
        ("cost", "price of all devices", lambda cell: cell.cost),
    ]
    figures = []
    for name, title, value in shown:
        found = [value(cell) for cell in study.cells]
        in_seconds = name == "round" or (name == "objective" and not is_energy)
        scaled = [_times(one, 1.0 / second_s if in_seconds else 1.0) for one in found]
        if any(one is not None for one in scaled):
            figures.append((f"figure-{name}", title, drawn(_bars(study, scaled, title))))
    values = {
        "study": study,
        "objective": objective,
        "shapes": {},
        "figures": figures,
        "table": _table(study),
        "most_cells": what_if.MOST_CELLS,
    }
    title = f"{study.scenario}: what if"
    return render_page("hybridsplit.orchestrator.studies", title, f"{study.scenario}-what-if", {}, values)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _bars(study: WhatIf, values: list[float | None], title: str) -> go.Figure:
    """A group of bars for every combination of all keys but the last, whose values are the bars of a group."""
    *outer, inner = study.varied
    figure = go.Figure()
    labels: dict[str, None] = {}
    for index, text in enumerate(inner.texts):
        own = [(cell, value) for cell, value in zip(study.cells, values, strict=True) if cell.values[inner.key] == text]
        rows = [html.escape(" ".join(cell.values[one.key] for one in outer) or text) for cell, _ in own]
        labels |= dict.fromkeys(rows)
        name = html.escape(f"{inner.key} {text}")
        figure.add_bar(
            y=rows, x=[value for _, value in own], orientation="h", name=name,
            marker={"color": SERIES[index % len(SERIES)] if outer else ACCENT},
            text=["no plan" if value is None else f"{value:.3g}" for _, value in own], textposition="outside",
            textangle=0, constraintext="none", textfont={"size": 11}, cliponaxis=False,
            hovertemplate=f"%{{y}}, {name}: %{{x:.4g}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="group" if outer else "overlay")
    num_bars = len(labels) * (len(inner.texts) if outer else 1)
    styled(figure, rows=num_bars, x_title=title)
    figure.update_layout(
        height=110 + _BAR_PX * max(2, num_bars), showlegend=bool(outer),
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": None},
        margin={"l": 8, "r": 16, "t": 44 if outer else 8, "b": 44},
    )  # fmt: skip
    most = max((value for value in values if value is not None), default=0.0)
    figure.update_xaxes(range=[0, most * 1.12 or 1.0])
    return figure


def _table(study: WhatIf) -> Table:
    amount = format_joules if study.minimises == "energy" else format_seconds
    figures: list[tuple[str, Callable[[what_if_cells.Cell], float | None], Callable[[float], str]]] = [
        ("Round", lambda cell: cell.round_latency_s, format_seconds),
        (study.minimises.replace("-", " ").capitalize(), lambda cell: cell.objective, amount),
        ("Gap", lambda cell: cell.gap, lambda gap: percent(gap if gap > _PROVEN else 0.0)),
        ("Fullest client", lambda cell: cell.fullest_share, percent),
        ("Energy", lambda cell: cell.energy_j, format_joules),
        ("Cost", lambda cell: cell.cost, "{:,.2f}".format),
    ]
    figures = [one for one in figures if any(one[1](cell) is not None for cell in study.cells)]
    has_reasons = any(cell.infeasible for cell in study.cells)
    columns = (
        *(Column(one.key, has_filter=True) for one in study.varied),
        *(Column(head, is_number=True) for head, _, _ in figures),
        *([Column("Why there is no plan", is_prose=True)] if has_reasons else []),
    )
    rows = tuple(
        (
            *(Cell(cell.values[one.key]) for one in study.varied),
            *(_shown(value(cell), render) for _, value, render in figures),
            *([Cell(cell.infeasible)] if has_reasons else []),
        )
        for cell in study.cells
    )
    return Table(columns, rows)


def _shown(value: float | None, render: Callable[[float], str]) -> Cell:
    return NOTHING if value is None else Cell(render(value), value)
