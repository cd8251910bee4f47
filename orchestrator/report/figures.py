"""The figures, as Plotly values without a colour or font of their own choice."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hybridsplit.orchestrator.report.data import ReportData, bunches
from hybridsplit.orchestrator.report.palette import (
    ACCENT,
    CONTROL,
    HATCH,
    INK,
    MUTED,
    PAPER,
    PHASE_COLOURS,
    PHASE_LABELS,
    RULE,
    WARNING,
)
from hybridsplit.scenarios.contracts.phases import OCCASIONAL_PHASES, ROUND_ORDER, Phase, elapsed_s
from hybridsplit.scenarios.contracts.plan import ClientPlan
from hybridsplit.scenarios.scores import score_of_columns
from hybridsplit.scenarios.units import format_bytes, format_bytes_of, format_seconds

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_ROW_PX = 30


def phase_figure(data: ReportData) -> go.Figure:
    """Return the planned latency of every row, stacked by phase; a group's bar is the mean of its clients.

    Parameters
    ----------
    data
        The report's data.
    """
    rows = bunches(data.plan)
    labels = [shown_label(row.label) for row in rows]
    unit_s, unit = time_unit(data.plan.round_latency_s)
    figure = go.Figure()
    waits = "Waiting, for its turn or at the barrier"
    for phase in ROUND_ORDER:
        name = waits if phase is Phase.BARRIER else PHASE_LABELS[phase]
        seconds = []
        for row in rows:
            values = [
                max(0.0, data.plan.round_latency_s - math.fsum(_elapsed(client)))
                if phase is Phase.BARRIER
                else client.phases_s.get(phase, 0.0)
                for client in row.clients
            ]
            seconds.append(math.fsum(values) / len(values))
        if phase is Phase.OVERLAPPED or (phase in OCCASIONAL_PHASES and not any(seconds)):
            continue  # no link delays; what overlaps is in the phases that it is part of
        figure.add_bar(
            y=labels,
            x=[value / unit_s for value in seconds],
            name=name,
            orientation="h",
            marker={
                "color": PHASE_COLOURS[phase],
                "line": {"width": 0.5, "color": PAPER},
                "pattern": {"shape": "/", "fgcolor": HATCH, "size": 5, "solidity": 0.2}
                if phase is Phase.BARRIER
                else {},
            },
            customdata=[format_seconds(value) for value in seconds],
            hovertemplate=f"%{{y}}<br>{name}: %{{customdata}}<extra></extra>",
        )
    figure.update_layout(barmode="stack")
    figure.add_vline(x=data.plan.round_latency_s / unit_s, line={"color": INK, "width": 1, "dash": "dot"})
    return styled(figure, rows=len(rows), x_title=f"time in a round, {unit}")


def _elapsed(client: ClientPlan) -> Iterator[float]:
    return (elapsed_s(phase, seconds, 0.0) for phase, seconds in client.phases_s.items())


def memory_figure(data: ReportData) -> go.Figure:
    """Return predicted and measured peaks as a share of the budget; of a group, the client closest to its budget.

    Parameters
    ----------
    data
        The report's data.
    """
    memory = data.memory.set_index("client")
    budget = memory["budget_bytes"].astype(float).clip(lower=1.0)
    predicted = memory["predicted_peak_bytes"].astype(float)
    measured = memory["measured_peak_bytes"].astype(float)
    labels, predicted_parts, measured_parts, texts, hovers = [], [], [], [], []
    for row in bunches(data.plan):
        ids = [client.id for client in row.clients if client.id in memory.index]
        if not ids:
            continue
        worst = str((predicted[ids] / budget[ids]).idxmax())
        labels.append(shown_label(row.label))
        predicted_parts.append(float(predicted[worst] / budget[worst]) * 100)
        # The largest measured share may be another client's than the largest predicted one.
        measured_parts.append(float((measured[ids] / budget[ids]).max()) * 100)
        texts.append(format_bytes_of(float(predicted[worst]), float(budget[worst])))
        hovers.append(
            f"{shown_label(worst)}: predicted {format_bytes(predicted[worst])}, "
            f"measured {format_bytes(measured[worst])}"
        )
    figure = go.Figure()
    figure.add_bar(
        y=labels, x=predicted_parts, orientation="h", name="predicted", marker={"color": ACCENT},
        text=texts, textposition="auto", insidetextanchor="start", textangle=0, constraintext="none",
        textfont={"size": 11}, insidetextfont={"color": PAPER}, outsidetextfont={"color": MUTED},
        customdata=hovers, hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        y=labels, x=measured_parts, mode="markers", name="measured",
        marker={"symbol": "diamond", "size": 10, "color": "#e69f00", "line": {"color": INK, "width": 1}},
        customdata=hovers, hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=100, line={"color": WARNING, "width": 2})
    shown = [value for value in [*predicted_parts, *measured_parts, 100.0] if math.isfinite(value)]
    figure.update_xaxes(range=[0, max(shown) * 1.06], ticksuffix=" %")
    return styled(figure, rows=len(labels), x_title="peak memory, share of the budget")


def learning_figure(data: ReportData, column: str) -> go.Figure:
    """Return the score of the test data, or the training loss, over simulated time, beside the frozen control.

    Parameters
    ----------
    data
        The report's data.
    column
        That of the score, as ``test_accuracy``, or ``train_loss``.
    """
    return learning_curves(data.rounds, data.control, column)


def learning_curves(rounds: pd.DataFrame, control: pd.DataFrame | None, column: str) -> go.Figure:
    """Return the curves of a run, and of its frozen control where there is one.

    Parameters
    ----------
    rounds, control
        One row a round.
    column
        As of :func:`learning_figure`.
    """
    is_percent = column != "train_loss" and score_of_columns([column]).is_fraction
    runs = [("this plan", rounds, ACCENT, "solid")]
    if control is not None and not control.empty:
        runs.append(("frozen control", control, CONTROL, "dash"))
    kept = [(name, run.dropna(subset=[column, "simulated_s"]), colour, dash) for name, run, colour, dash in runs]
    unit_s, unit = time_unit(max((float(run["simulated_s"].max()) for _, run, _, _ in kept if len(run)), default=1.0))
    figure = go.Figure()
    for name, run, colour, dash in kept:
        values: pd.Series[Any] = run[column] * (100 if is_percent else 1)
        figure.add_scatter(
            x=(run["simulated_s"] / unit_s).tolist(), y=values.tolist(), name=name,
            mode="lines+markers" if len(run) <= MOST_MARKERS else "lines",
            line={"color": colour, "dash": dash, "width": 2}, marker={"size": 5},
            customdata=run["round"].tolist(),
            hovertemplate=f"{name}, round %{{customdata}}<br>%{{y:.4g}}{' %' if is_percent else ''}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(ticksuffix=" %" if is_percent else "", rangemode="normal")
    figure.update_xaxes(rangemode="tozero")
    return styled(figure, rows=None, x_title=f"simulated time, {unit}")


MOST_MARKERS = 60
"""Above so many rounds a line has no markers: they would merge into a band."""


def shown_label(text: str) -> str:
    """Return a name cut and escaped: Plotly reads a subset of HTML in labels.

    Parameters
    ----------
    text
        The name.
    """
    return html.escape(text if len(text) <= 28 else f"{text[:27]}…")


def time_unit(longest_s: float) -> tuple[float, str]:
    """Return the unit of a time axis in seconds, and its name.

    Parameters
    ----------
    longest_s
        The longest time on it.
    """
    if longest_s >= 7200:
        return 3600.0, "h"
    if longest_s >= 600:
        return 60.0, "min"
    return (1.0, "s") if longest_s >= 1 else (1e-3, "ms")


def styled(figure: go.Figure, *, rows: int | None, x_title: str) -> go.Figure:
    """Give a figure the look of all others.

    Parameters
    ----------
    figure
        The figure; changed and returned.
    rows
        Number of rows of a figure with categories down the side; None for one with two axes of numbers.
    x_title
        What the lower axis shows.
    """
    axis = {"gridcolor": RULE, "zerolinecolor": RULE, "automargin": True, "fixedrange": True, "linecolor": RULE}
    figure.update_xaxes(title={"text": x_title, "font": {"size": 12, "color": MUTED}}, **axis)
    figure.update_yaxes(**axis)
    if rows is not None:
        figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickmode="linear", dtick=1)
    figure.update_layout(
        template=go.layout.Template(),
        height=300 if rows is None else 70 + _ROW_PX * max(2, rows),
        margin={"l": 8, "r": 16, "t": 8, "b": 44},
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        bargap=0.28,
        hovermode="closest",
    )
    return figure
