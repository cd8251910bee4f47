"""The figures of the report of an inference task."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from hybridsplit.orchestrator.inference.comparing import ComparedApps
from hybridsplit.orchestrator.report.figures import shown_label, styled
from hybridsplit.orchestrator.report.palette import ACCENT, CONTROL, INK, PAPER
from hybridsplit.scenarios.contracts.inference_plan import AppPlan, InferencePlan
from hybridsplit.scenarios.contracts.virtual_space import UNITS, Unit

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7d4a75", "#b8a000")
"""The palette of Okabe and Ito (2008); with more apps than colours it begins anew, and names tell them apart."""


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for every name."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def layer_figure(plan: InferencePlan) -> go.Figure:
    """Return a line an app with its layers in their order, in the colour of the device that runs each.

    Parameters
    ----------
    plan
        The plan.
    """
    devices = colours_of([one.id for one in plan.devices])
    figure = go.Figure()
    for device, colour in devices.items():
        spans = [
            (app.id, part.start + index, name, part.reloads)
            for app in plan.apps
            for part in app.parts
            if part.device == device
            for index, name in enumerate(part.layers)
        ]
        if spans:
            hovers = [
                f"{shown_label(app)}: layer {html.escape(name)} on {shown_label(device)}"
                + (", weights loaded for every frame" if reloads else "")
                for app, _, name, reloads in spans
            ]
            figure.add_bar(
                y=[shown_label(app) for app, *_ in spans], base=[position for _, position, *_ in spans],
                x=[1] * len(spans), orientation="h", name=shown_label(device), customdata=hovers,
                hovertemplate="%{customdata}<extra></extra>",
                marker={
                    "color": colour, "line": {"width": 1, "color": PAPER},
                    "pattern": {"shape": ["/" if reloads else "" for *_, reloads in spans], "fgcolor": PAPER},
                },
            )  # fmt: skip
    figure.update_layout(barmode="overlay")
    styled(figure, rows=len(plan.apps), x_title="layers, from the first")
    figure.update_yaxes(categoryorder="array", categoryarray=[shown_label(app.id) for app in plan.apps])
    return figure


def busy_figure(plan: InferencePlan) -> go.Figure:
    """Return a line a unit of a device: the share of time that each app keeps it busy.

    Parameters
    ----------
    plan
        The plan.
    """
    units = [(device.id, unit) for device in plan.devices for unit in UNITS]
    labels = [shown_label(f"{device} {unit}") for device, unit in units]
    figure = go.Figure()
    for (app_id, colour), app in zip(colours_of([app.id for app in plan.apps]).items(), plan.apps, strict=True):
        spent_s = seconds_of(app)
        shares = [100 * app.rate_hz * spent_s.get(unit, 0.0) for unit in units]
        figure.add_bar(
            y=labels, x=shares, orientation="h", name=shown_label(app_id),
            marker={"color": colour, "line": {"width": 0.5, "color": PAPER}},
            hovertemplate=f"{shown_label(app_id)}: %{{x:.3g}} % of the time of %{{y}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack")
    figure.add_vline(x=100, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(range=[0, 106], ticksuffix=" %")
    return styled(figure, rows=len(units), x_title="share of time that a unit is busy")


def throughput_figure(plan: InferencePlan, rows: Sequence[ComparedApps]) -> go.Figure:
    """Return a line a strategy: periods a second.

    Parameters
    ----------
    plan
        The plan.
    rows
        Other strategies; those without a plan are left out.
    """
    periods_s = {plan.strategy: plan.period_s} | {row.strategy: row.period_s for row in rows if row.period_s}
    rates_hz = [1 / period_s for period_s in periods_s.values()]
    figure = go.Figure()
    figure.add_bar(
        y=[shown_label(name) for name in periods_s], x=rates_hz, orientation="h", name="periods a second",
        marker={"color": [ACCENT if name == plan.strategy else CONTROL for name in periods_s]},
        text=[f"{rate_hz:.3g}" for rate_hz in rates_hz], textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{x:.4g} periods a second<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(range=[0, max(rates_hz) * 1.12])
    return styled(figure, rows=len(periods_s), x_title="periods a second")


def seconds_of(app: AppPlan) -> Mapping[tuple[str, Unit], float]:
    """Return the seconds that every unit of a device spends on a frame of an app.

    Parameters
    ----------
    app
        The app.
    """
    spent: dict[tuple[str, Unit], float] = {}

    def add(device: str, unit: Unit, seconds: float) -> None:
        spent[device, unit] = spent.get((device, unit), 0.0) + seconds

    here = app.source
    for part in app.parts:
        if part.device != here:
            add(here, Unit.TX, part.hop_s)
            add(part.device, Unit.RX, part.hop_s)
        here = part.device
        add(here, Unit.CNN, part.compute_s + part.reload_s)
        add(here, Unit.CPU, part.bus_s + part.reload_s)
    if here != app.target:
        add(here, Unit.TX, app.last_hop_s)
        add(app.target, Unit.RX, app.last_hop_s)
    return spent
