"""The report of an inference task: one HTML page that needs no network and no other file. Bars are plain SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import jinja2
import yaml
from markupsafe import Markup, escape

from hybridsplit.orchestrator.inference.comparing import ComparedApps, RateCell
from hybridsplit.orchestrator.inference.replaying import ReplaySummary
from hybridsplit.orchestrator.inference.views import inference_headline, ratio_words, where_words
from hybridsplit.scenarios.contracts.inference_plan import AppPlan, InferencePlan
from hybridsplit.scenarios.contracts.virtual_space import UNITS, Unit
from hybridsplit.scenarios.inference.accelerators import find_accelerator
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.units import format_bytes_of, format_rate, format_seconds

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7d4a75", "#b8a000")
"""The palette of Okabe and Ito (2008); with more apps than colours it begins anew, and names tell them apart."""
_WIDTH, _LINE, _BAR = 760.0, 26.0, 16.0


def render_inference_report(plan: InferencePlan, summary: ReplaySummary) -> str:
    """Render the report.

    Parameters
    ----------
    plan, summary
        The plan, and what its replay and the comparison found.

    Returns
    -------
    str
        A complete HTML page; text of the user is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    colours = {app.id: COLOURS[index % len(COLOURS)] for index, app in enumerate(plan.apps)}
    scenario = validate_inference(plan.scenario, "the plan's scenario")
    kinds = {one.kind: find_accelerator(one.kind, scenario.devices, one.id) for one in scenario.placed()}
    return environment.get_template("template.html.j2").render(
        plan=plan,
        summary=summary,
        headline=inference_headline(plan).splitlines(),
        colours=colours,
        where=where_words,
        layer_bars=_layer_bars(plan, colours),
        busy_bars=_busy_bars(plan, colours),
        throughput_bars=_throughput_bars(plan, summary.strategies),
        seconds=format_seconds,
        bytes_of=format_bytes_of,
        rate=format_rate,
        units=UNITS,
        reloads=sorted({cell.reload_bytes_per_s for cell in summary.rates}),
        cells=_by_link(summary.rates),
        ratio=ratio_words,
        kinds=kinds,
        scenario_yaml=yaml.safe_dump(
            {key: value for key, value in plan.scenario.items() if key != "networks"}, sort_keys=False,
            allow_unicode=True, width=100,
        ),
    )  # fmt: skip


def _source(name: str) -> str:
    room = "hybridsplit.orchestrator.report" if name == "style.css" else "hybridsplit.orchestrator.inference"
    return files(room).joinpath(name).read_text(encoding="utf-8")


def _by_link(cells: Sequence[RateCell]) -> list[list[RateCell]]:
    links = sorted({cell.link_bps for cell in cells})
    return [
        sorted((one for one in cells if one.link_bps == link), key=lambda c: c.reload_bytes_per_s) for link in links
    ]


def _text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#1f2933") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _bar(x: float, y: float, width: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{x:.2f}" y="{y:.1f}" width="{max(width, 0.5):.2f}" height="{_BAR:g}" fill="{colour}" '
        f'stroke="#ffffff" stroke-width="0.7"><title>{escape(title)}</title></rect>'
    )


def _svg(lines: Sequence[str], height: float, label: str) -> Markup:
    inside = "\n".join(lines)
    return Markup(
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 1000 {height:.0f}" width="100%" font-size="13">'
        f"{inside}</svg>"
    )


def _layer_bars(plan: InferencePlan, colours: Mapping[str, str]) -> Markup:
    """A line an app, a block a layer, in the colour of the device that runs it."""
    devices = {one.id: COLOURS[index % len(COLOURS)] for index, one in enumerate(plan.devices)}
    drawn: list[str] = []
    for row, app in enumerate(plan.apps):
        y = row * (_LINE + 14)
        num_layers = app.parts[-1].end
        drawn.append(_text(150, y + 13, app.id, "end"))
        for part in app.parts:
            for index, name in enumerate(part.layers):
                x = 160 + (part.start + index) * _WIDTH / num_layers
                loaded = ", weights loaded for every frame" if part.reloads else ""
                title = f"{app.id}: layer {name} on {part.device}{loaded}"
                drawn.append(_bar(x, y, _WIDTH / num_layers, devices[part.device], title))
            loads = " (loaded)" if part.reloads else ""
            is_wide = (part.end - part.start) * _WIDTH / num_layers > 7 * len(part.device + loads)
            if is_wide:
                drawn.append(
                    _text(160 + part.start * _WIDTH / num_layers, y + 30, part.device + loads, "start", "#52606d")
                )
    return _svg(drawn, len(plan.apps) * (_LINE + 14), "Layers of every app by the device that runs them")


def _seconds_of(app: AppPlan) -> dict[tuple[str, Unit], float]:
    """Seconds of every unit a frame, from the plan's parts."""
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


def _busy_bars(plan: InferencePlan, colours: Mapping[str, str]) -> Markup:
    """A line a unit: the share of time that each app keeps it busy."""
    drawn: list[str] = []
    y = 0.0
    for device in plan.devices:
        for unit in UNITS:
            drawn.append(_text(150, y + 13, f"{device.id} {unit}", "end"))
            drawn.append(f'<rect x="160" y="{y:.1f}" width="{_WIDTH:g}" height="{_BAR:g}" fill="#e4e8ec"/>')
            x = 160.0
            for app in plan.apps:
                share = _seconds_of(app).get((device.id, unit), 0.0) * app.rate_hz
                if share > 0:
                    title = f"{app.id}: {share:.1%} of the time of {device.id} {unit}"
                    drawn.append(_bar(x, y, share * _WIDTH, colours[app.id], title))
                    x += share * _WIDTH
            drawn.append(_text(930, y + 13, f"{device.busy[unit]:.0%}"))
            y += 20
        y += 8
    return _svg(drawn, y, "Share of time that every unit is busy, by app")


def _throughput_bars(plan: InferencePlan, rows: Sequence[ComparedApps]) -> Markup:
    """A line a strategy: frames a second of every app at its common period."""
    periods = {plan.strategy: plan.period_s}
    periods |= {row.strategy: row.period_s for row in rows if row.period_s is not None}
    fastest = min(periods.values())
    drawn = []
    for row, (name, period) in enumerate(periods.items()):
        y = row * _LINE
        drawn.append(_text(150, y + 13, name, "end"))
        drawn.append(_bar(160, y, fastest / period * _WIDTH, "#0b5394" if row == 0 else "#7b8794", name))
        drawn.append(_text(170 + fastest / period * _WIDTH, y + 13, f"{1 / period:.3g} periods a second"))
    return _svg(drawn, len(periods) * _LINE, "Periods a second by strategy")
