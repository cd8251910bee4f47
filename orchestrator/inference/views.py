"""Plans, comparisons and replays of inference tasks as Rich tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.inference.comparing import ComparedApps, RateCell
from hybridsplit.orchestrator.inference.replaying import ReplaySummary
from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.scenarios.contracts.inference_plan import AppPlan, InferencePlan
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.virtual_space import UNITS
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.units import format_bytes_of, format_rate, format_seconds


def _table(title: str, *columns: str, text: int = 1) -> Table:
    table = FittingTable(title)
    for position, name in enumerate(columns):
        table.add_column(name, justify="left" if position < text else "right", overflow="fold")
    return table


def where_words(app: AppPlan) -> str:
    """Return in words which layers of an app run where.

    Parameters
    ----------
    app
        The app.
    """
    return ", ".join(
        f"{part.device} {part.layers[0]}{'-' + part.layers[-1] if len(part.layers) > 1 else ''}"
        f"{' (loaded)' if part.reloads else ''}"
        for part in app.parts
    )


def app_table(plan: InferencePlan) -> Table:
    """One row an app: which layers run where, its rate and its latency."""
    title = f"Plan of {escape(plan.scenario['name'])} by {escape(plan.strategy)}"
    table = _table(title, "app", "model", "from, to", "layers on", "rate", "latency", text=4)
    for app in plan.apps:
        table.add_row(
            escape(app.id), escape(app.model), escape(f"{app.source}, {app.target}"), escape(where_words(app)),
            f"{app.rate_hz:.4g} Hz", format_seconds(app.latency_s),
        )  # fmt: skip
    return table


def device_table(plan: InferencePlan) -> Table:
    """One row a device: its memories, and how much of the time its units are busy."""
    columns = ("device", "kind", "kernels a processor", "layers", "data an instance", *(f"{u} busy" for u in UNITS))
    table = _table("Devices", *columns, text=2)
    for one in plan.devices:
        table.add_row(
            escape(one.id), escape(one.kind), format_bytes_of(one.kernel_bytes, one.most_kernel_bytes),
            f"{one.layers} / {one.most_layers}", format_bytes_of(one.data_bytes, one.most_data_bytes),
            *(f"{one.busy[unit]:.0%}" for unit in UNITS),
        )  # fmt: skip
    return table


def inference_headline(plan: InferencePlan) -> str:
    """Return what a plan achieves, and what is proven of it."""
    if plan.objective_j is not None:
        reached = f"{plan.objective_j * 1e3:.4g} mJ in a period of {format_seconds(plan.period_s)}"
        bound = f"{(plan.lower_bound_j or 0.0) * 1e3:.4g} mJ"
    else:
        reached, bound = f"period {format_seconds(plan.period_s)}", format_seconds(plan.lower_bound_s)
    proof = {
        PlanStatus.OPTIMAL: f"Proven: no plan is below {bound} (gap {plan.gap:.2%}).",
        PlanStatus.BASELINE: "A baseline: verified, and no bound is claimed.",
    }.get(plan.status, f"Verified; no plan is below {bound} (gap {plan.gap:.1%}).")
    lines = [f"{reached}, {plan.throughput_hz():.4g} frames a second in all. {proof}", rates_line(plan)]
    return "\n".join([*lines, *plan.notes])


def rates_line(plan: InferencePlan) -> str:
    """Return the rates that the figures hold for; no figure is to be shown without them."""
    scenario = validate_inference(plan.scenario, "the plan's scenario")
    links = sorted({one.link_bps for one in scenario.placed()})
    flash = sorted({one.reload_bytes_per_s for one in scenario.placed() if one.reload_bytes_per_s is not None})
    loads = " and ".join(f"{rate / 1e6:g} MB/s" for rate in flash) or "not stated"
    return (
        f"At links of {' and '.join(map(format_rate, links))}, weights from flash at {loads}, and up to "
        f"{plan.frames_in_flight} frames of an app under way"
    )


def apps_comparison_table(rows: Sequence[ComparedApps]) -> Table:
    """One row a strategy, with the throughput of ``optimal`` relative to it."""
    table = _table("Strategies on the same problem", "strategy", "period", "frames a second", "optimal is", "gap")
    for row in rows:
        if row.infeasible is not None:
            table.add_row(row.strategy, "[red]infeasible[/]")
            continue
        table.add_row(
            row.strategy,
            "-" if row.period_s is None else format_seconds(row.period_s),
            "-" if row.throughput_hz is None else f"{row.throughput_hz:.4g}",
            "-" if row.ratio is None else f"{row.ratio:.2f}x",
            "-" if row.gap is None else f"{row.gap:.2%}",
        )
    return table


def rate_cells_table(cells: Sequence[RateCell]) -> Table:
    """Rows are link rates, columns reload rates: throughput over the mean of the baselines, and over the best."""
    reloads = sorted({cell.reload_bytes_per_s for cell in cells})
    table = _table(
        "Throughput of optimal over the mean of the seven baselines (over the best of them)",
        "link \\ weights from flash", *(f"{rate / 1e6:g} MB/s" for rate in reloads),
    )  # fmt: skip
    for link in sorted({cell.link_bps for cell in cells}):
        row = {cell.reload_bytes_per_s: cell for cell in cells if cell.link_bps == link}
        table.add_row(format_rate(link), *(ratio_words(row[rate]) for rate in reloads))
    return table


def ratio_words(cell: RateCell) -> str:
    """Return the two ratios of a cell."""
    if cell.over_mean is None or cell.over_best is None:
        return "no baseline has a plan"
    return f"{cell.over_mean:.1f}x ({cell.over_best:.2f}x)"


def replayed_table(summary: ReplaySummary) -> Table:
    """One row an app: planned and replayed rate, and the latency with all waits."""
    table = _table("Planned and replayed", "app", "frames", "planned rate", "replayed rate", "difference", "latency")
    for app in summary.apps:
        table.add_row(
            escape(app.id), f"{app.frames:,}", f"{app.planned_rate_hz:.4g} Hz", f"{app.rate_hz:.4g} Hz",
            f"{app.rate_hz / app.planned_rate_hz - 1:+.2%}", format_seconds(app.latency_s),
        )  # fmt: skip
    return table


def layers_table(scenario: InferenceScenario) -> list[Table]:
    """One table a model: what each of its layers takes of each kind of accelerator, and what is not supported."""
    from hybridsplit.profiler.accelerators.space import virtual_space

    tables = []
    shown: set[str] = set()
    for app in virtual_space(scenario).apps:
        if app.model in shown:
            continue
        shown.add(app.model)
        for kind, costs in app.by_kind.items():
            title = f"{escape(app.model)} on {escape(kind)}"
            table = _table(
                title, "layer", "time", "weights", "kernels a processor", "data an instance", "crosses after"
            )
            for index, name in enumerate(app.layers):
                if index in costs.unsupported:
                    table.add_row(escape(name), f"[red]{escape('; '.join(costs.unsupported[index]))}[/]")
                    continue
                table.add_row(
                    escape(name), format_seconds(float(costs.layer_s[index])), f"{int(app.weight_bytes[index]):,} B",
                    f"{int(costs.widest_bytes[index, index + 1]):,} B", f"{int(costs.data_bytes[index]):,} B",
                    f"{int(app.crossing_bytes[index + 1]):,} B",
                )  # fmt: skip
            tables.append(table)
    return tables
