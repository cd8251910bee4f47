"""The report of an inference task: one HTML page that needs no network and no other file."""

from __future__ import annotations

import yaml

from hybridsplit.orchestrator.inference import report_tables as tables
from hybridsplit.orchestrator.inference.figures import busy_figure, colours_of, layer_figure, throughput_figure
from hybridsplit.orchestrator.inference.replaying import ReplaySummary
from hybridsplit.orchestrator.inference.views import inference_headline
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.units import counted, format_seconds


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
    # An id is no CSS class: marks go by position.
    used = {part.device for app in plan.apps for part in app.parts}
    of_devices = colours_of([one.id for one in plan.devices])
    of_apps = colours_of([app.id for app in plan.apps])
    device_marks = {name: f"device-{index}" for index, name in enumerate(of_devices) if name in used}
    app_marks = {name: f"app-{index}" for index, name in enumerate(of_apps)}
    marks = {mark: of_devices[name] for name, mark in device_marks.items()}
    marks |= {mark: of_apps[name] for name, mark in app_marks.items()}
    name = str(plan.scenario["name"])
    values = {
        "plan": plan,
        "summary": summary,
        "headline": inference_headline(plan).splitlines(),
        "device_marks": device_marks,
        "app_marks": app_marks,
        "shapes": {},
        "layer_figure": drawn(layer_figure(plan)),
        "busy_figure": drawn(busy_figure(plan)),
        "throughput_figure": drawn(throughput_figure(plan, summary.strategies)),
        "apps_table": tables.apps_table(plan),
        "devices_table": tables.devices_table(plan),
        "strategies_table": tables.strategies_table(plan, summary.strategies),
        "rates_table": tables.rates_table(summary.rates),
        "replayed_table": tables.replayed_table(summary),
        "kinds_table": tables.kinds_table(plan),
        "seconds": format_seconds,
        "counted": counted,
        "scenario_yaml": yaml.safe_dump(
            {key: value for key, value in plan.scenario.items() if key != "networks"}, sort_keys=False,
            allow_unicode=True, width=100,
        ),
    }  # fmt: skip
    return render_page("hybridsplit.orchestrator.inference", f"{name}: {plan.strategy} plan", name, marks, values)
