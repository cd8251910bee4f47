"""Memory by cut and mode: the figure, on its own page or in a report."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Hashable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table
from hybridsplit.orchestrator.report.figures import styled
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.orchestrator.report.palette import MUTED, PAPER, WARNING
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.recompute import LADDER, most_kept_inputs, parse_order
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.units import counted, format_bytes, format_seconds

_MOST_BUDGETS = 8
_LABEL_SHARE = 0.05
"""Of the height of the figure that the label of a budget takes."""
_MOST_LETTERS = 40
"""Of such a label, which a narrow screen still holds."""
_DASHES = ("solid", "dash", "dot", "dashdot")
"""Of the batch sizes, largest first."""


def memory_by_cut_figure(options: OptionTable) -> go.Figure:
    """Return the client's peak memory over the cut, a line a mode and batch size, with every budget as a level.

    The levels of ``fo-recompute`` are a band between the least and the most memory, with a mark for each.

    Parameters
    ----------
    options
        The option table.
    """
    figure = go.Figure()
    rows = _one_client_a_device(options.table)
    sizes = sorted(rows["batch_size"].unique())
    for mode, (dash, batch_size) in itertools.product(MODES, zip(itertools.cycle(_DASHES), reversed(sizes))):
        of_mode = rows[(rows["mode"] == str(mode)) & (rows["batch_size"] == batch_size)]
        if of_mode.empty:
            continue
        by_cut = of_mode.groupby("cut")["client_peak_bytes"]
        least, most = by_cut.min(), by_cut.max()
        colour = MODES[mode].colour
        if (most > least).any():
            figure.add_scatter(
                x=list(most.index), y=list(most), mode="lines", line={"width": 0}, hoverinfo="skip",
                showlegend=False,
            )  # fmt: skip
            figure.add_scatter(
                x=list(least.index), y=list(least), mode="lines", fill="tonexty",
                line={"color": colour, "width": 2, "dash": dash}, fillcolor=f"{colour}26",
                hoverinfo="skip", showlegend=False,
            )  # fmt: skip
        figure.add_scatter(
            x=list(of_mode["cut"]), y=list(of_mode["client_peak_bytes"]),
            name=f"{mode}, batch {batch_size}" if len(sizes) > 1 else str(mode),
            mode="lines+markers" if (most == least).all() else "markers",
            line={"color": colour, "width": 2, "dash": dash}, marker={"size": 5, "color": colour},
            customdata=[_hover(row, names_batch=len(sizes) > 1) for row in of_mode.to_dict("records")],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    levels = [*rows["client_peak_bytes"], *options.table["memory_budget_bytes"]]
    axis = (math.log10(min(levels) * 0.9), math.log10(max(levels) * 1.15))
    budgets = _budgets(options.table)
    for budget_bytes, _ in budgets:
        figure.add_hline(y=budget_bytes, line={"color": WARNING, "width": 1, "dash": "dot"})
    for height, text in _budget_labels(budgets, (axis[1] - axis[0]) * _LABEL_SHARE):
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=height, yanchor="bottom", showarrow=False,
            text=html.escape(text), font={"size": 11, "color": MUTED}, bgcolor=f"{PAPER}cc", borderpad=1,
        )  # fmt: skip
    figure = styled(figure, rows=None, x_title="cut: blocks on the device")
    ticks = [2.0**power for power in range(math.floor(math.log2(min(levels))), math.ceil(math.log2(max(levels))) + 1)]
    figure.update_yaxes(
        title={"text": "peak memory", "font": {"size": 12, "color": MUTED}}, type="log", tickvals=ticks,
        ticktext=[format_bytes(tick) for tick in ticks],
        range=list(axis),
    )  # fmt: skip
    figure.update_xaxes(dtick=1 if rows["cut"].max() <= 30 else None, range=[0.5, rows["cut"].max() + 0.5])
    figure.update_layout(
        height=440, margin={"l": 8, "r": 16, "t": 32, "b": 44}, showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": None},
    )  # fmt: skip
    return figure


def memory_page(title: str, options: OptionTable) -> str:
    """Return a complete HTML page with the figure; it needs no network.

    Parameters
    ----------
    title
        The scenario's name.
    options
        The option table.
    """
    values = {
        "scenario": title,
        "shapes": {},
        "figure_content": drawn(memory_by_cut_figure(options)),
        "table": _table(options),
    }
    heading, room = f"{title}: memory of the client part", "hybridsplit.orchestrator.report"
    return render_page(room, heading, f"{title}-memory", {}, values, "memory.html.j2")


def _table(options: OptionTable) -> Table:
    """Every peak of the figure, from the least to the most."""
    rows = _one_client_a_device(options.table).sort_values("client_peak_bytes")
    rows = rows.drop_duplicates(["cut", "mode", "batch_size", "recompute", "client_peak_bytes"])
    names_batch, has_levels = len(options.batch_sizes) > 1, (rows["recompute"] != "").any()
    columns = (
        Column("Cut"),
        Column("Mode", has_filter=True),
        *([Column("Batch", is_number=True)] if names_batch else []),
        *([Column("Inputs kept", is_number=True)] if has_levels else []),
        Column("Peak memory", is_number=True),
    )
    cells = []
    for row in rows.to_dict("records"):
        kept = most_kept_inputs(parse_order(row["recompute"])) if row["recompute"] else None
        cells.append(
            (
                Cell(str(row["cut"]), row["cut"]),
                Cell(row["mode"]),
                *([Cell(str(row["batch_size"]), row["batch_size"])] if names_batch else []),
                *([NOTHING if kept is None else Cell(str(kept), kept)] if has_levels else []),
                Cell(format_bytes(row["client_peak_bytes"]), row["client_peak_bytes"]),
            )
        )
    return Table(columns, tuple(cells))


def _one_client_a_device(table: pd.DataFrame) -> pd.DataFrame:
    """Peaks are those of the model, so one client shows them all; the one with the most rows."""
    first = table["client"].value_counts(sort=True).index[0]
    one: pd.DataFrame = table[(table["client"] == first) & (table["recompute"] != LADDER)]
    return one.sort_values(["cut", "client_peak_bytes"])


def _hover(row: dict[Hashable, Any], *, names_batch: bool) -> str:
    inputs = counted(most_kept_inputs(parse_order(row["recompute"])), "input") if row["recompute"] else ""
    kept = f", {inputs} kept" if inputs else ""
    batch = f", batch {row['batch_size']}" if names_batch else ""
    head = f", head of {row['head_blocks']}" if row["head_blocks"] else ""
    parts = f", {row['micro_batches']} micro-batches" if row["micro_batches"] > 1 else ""
    compute = f"compute {format_seconds(row['client_compute_s'])} a round on {html.escape(row['device'])}"
    peak = f"peak {format_bytes(row['client_peak_bytes'])}"
    return f"cut {row['cut']}, {row['mode']}{batch}{kept}{head}{parts}<br>{peak}<br>{compute}"


def _budgets(table: pd.DataFrame) -> list[tuple[int, str]]:
    """Budgets with the groups that have them, the smallest first; too many would hide the lines."""
    groups = table.assign(group=table["client"].str.rsplit("-", n=1).str[0])
    levels = groups.drop_duplicates(["memory_budget_bytes", "group"]).sort_values("memory_budget_bytes")
    named: dict[int, list[str]] = {}
    for budget, group in zip(levels["memory_budget_bytes"], levels["group"], strict=True):
        named.setdefault(int(budget), []).append(group)
    return [(budget, ", ".join(names)) for budget, names in list(named.items())[:_MOST_BUDGETS]]


def _budget_labels(budgets: list[tuple[int, str]], apart: float) -> list[tuple[float, str]]:
    """Labels of budgets with their height on a logarithmic axis; those that would overprint each other share one."""
    shared: list[list[tuple[int, str]]] = []
    for budget in budgets:
        if shared and math.log10(budget[0] / shared[-1][-1][0]) < apart:
            shared[-1].append(budget)
        else:
            shared.append([budget])
    return [(math.log10(alike[-1][0]), _label(alike)) for alike in shared]


def _label(alike: list[tuple[int, str]]) -> str:
    whole = ", ".join(f"{names}: {format_bytes(budget)}" for budget, names in alike)
    if len(whole) <= _MOST_LETTERS:
        return whole
    low, high = alike[0][0], alike[-1][0]
    span = format_bytes(low) if low == high else f"{format_bytes(low)} to {format_bytes(high)}"
    num_groups = sum(names.count(", ") + 1 for _, names in alike)
    return f"{counted(num_groups, 'group')}: {span}"
