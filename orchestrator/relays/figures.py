"""The figures of the report of a model that is cut several times."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from hybridsplit.orchestrator.report.figures import shown_label, styled, time_unit
from hybridsplit.orchestrator.report.palette import CONTROL, PAPER
from hybridsplit.runtime.replay_relays import Interval
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan

KIND_COLOURS = {
    "forward": "#0072b2",
    "backward": "#e69f00",
    "update": "#009e73",
    "up": "#56b4e9",
    "down": "#cc79a7",
    "exchange": "#7d4a75",
}
"""The palette of Okabe and Ito (2008)."""
_MOST_DRAWN = 4_000
_MOST_ROWS = 40
_NODE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7d4a75", "#b8a000")


def node_colours(plan: RelayPlan) -> dict[str, str]:
    """Return a colour for every node, and one for the clients themselves.

    Parameters
    ----------
    plan
        The plan.
    """
    names = ["the client", *(one["node"] for one in plan.scenario["network"]["nodes"])]
    return {name: _NODE_COLOURS[index % len(_NODE_COLOURS)] for index, name in enumerate(names)}


def blocks_figure(plan: RelayPlan) -> go.Figure:
    """Return a line a client with its blocks in their order, in the colour of the machine that runs each.

    Parameters
    ----------
    plan
        The plan.
    """
    clients = plan.clients[:_MOST_ROWS]
    figure = go.Figure()
    for name, colour in node_colours(plan).items():
        spans = [
            (client.id, part)
            for client in clients
            for part in client.placement
            if part.node == (client.id if name == "the client" else name)
        ]
        if spans:
            hovers = [
                f"{shown_label(owner)}: blocks {part.first_block} to {part.last_block} on {html.escape(name)} "
                f"({html.escape(part.device)})"
                for owner, part in spans
            ]
            figure.add_bar(
                y=[shown_label(owner) for owner, _ in spans], base=[part.first_block - 1 for _, part in spans],
                x=[part.last_block - part.first_block + 1 for _, part in spans], orientation="h",
                name=shown_label(name), customdata=hovers, hovertemplate="%{customdata}<extra></extra>",
                marker={"color": colour, "line": {"width": 1, "color": PAPER}},
            )  # fmt: skip
    figure.update_layout(barmode="overlay")
    styled(figure, rows=len(clients), x_title="blocks, from the first")
    figure.update_yaxes(categoryorder="array", categoryarray=[shown_label(client.id) for client in clients])
    return figure


def gantt_figure(intervals: Sequence[Interval], until_s: float) -> go.Figure:
    """Return a line a machine and link direction: what it does over the start of a round.

    Parameters
    ----------
    intervals
        Work of the round; with more than can be seen, its start is drawn.
    until_s
        End of the round.
    """
    shown = sorted(intervals, key=lambda one: one.start_s)[:_MOST_DRAWN]
    names = list(dict.fromkeys(one.resource for one in shown))[:_MOST_ROWS]
    scale_s, unit = time_unit(max((one.end_s for one in shown), default=until_s))
    figure = go.Figure()
    for kind, colour in KIND_COLOURS.items():
        of_kind = [one for one in shown if one.kind == kind and one.resource in names]
        if of_kind:
            hovers = [
                f"{shown_label(one.client)}: {one.kind}"
                + (f" of micro-batch {one.micro_batch + 1}" if kind not in ("update", "exchange") else "")
                for one in of_kind
            ]
            figure.add_bar(
                y=[shown_label(one.resource) for one in of_kind], base=[one.start_s / scale_s for one in of_kind],
                x=[(one.end_s - one.start_s) / scale_s for one in of_kind], orientation="h", name=kind,
                customdata=hovers, hovertemplate="%{customdata}, %{x:.3g} " + unit + "<extra></extra>",
                marker={"color": colour, "line": {"width": 0}},
            )  # fmt: skip
    figure.update_layout(barmode="overlay")
    styled(figure, rows=len(names), x_title=f"time, {unit}")
    figure.update_yaxes(categoryorder="array", categoryarray=[shown_label(name) for name in names])
    return figure


def busy_figure(plan: RelayPlan) -> go.Figure:
    """Return a line a shared machine and link direction: the share of the time that it is busy.

    Parameters
    ----------
    plan
        The plan.
    """
    busiest = sorted(plan.busy_s.items(), key=lambda item: -item[1])[:_MOST_ROWS]
    figure = go.Figure()
    figure.add_bar(
        y=[shown_label(name) for name, _ in busiest], x=[100 * seconds / plan.value_s for _, seconds in busiest],
        orientation="h", name="busy", marker={"color": CONTROL},
        hovertemplate="%{y}: %{x:.3g} % of the time<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(range=[0, 104], ticksuffix=" %")
    return styled(figure, rows=max(1, len(busiest)), x_title="share of the time that it is busy")
