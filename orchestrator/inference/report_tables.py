"""The tables of the report of an inference task."""

from __future__ import annotations

from collections.abc import Sequence

from hybridsplit.orchestrator.inference.comparing import ComparedApps, RateCell
from hybridsplit.orchestrator.inference.replaying import ReplaySummary
from hybridsplit.orchestrator.inference.views import ratio_words, where_words
from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.inference.accelerators import find_accelerator
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.units import format_bytes_of, format_rate, format_seconds


def _columns(*labels: str, text: int = 1, wide: int = -1) -> tuple[Column, ...]:
    return tuple(
        Column(label, is_number=position >= text, is_wide=position == wide) for position, label in enumerate(labels)
    )


def _hertz(rate_hz: float) -> Cell:
    return Cell(f"{rate_hz:.4g} Hz", rate_hz)


def _seconds(seconds: float) -> Cell:
    return Cell(format_seconds(seconds), seconds)


def apps_table(plan: InferencePlan) -> Table:
    """Return one row an app: which layers run where, its rate and its latency."""
    columns = _columns(
        "App", "Model", "From, to", "Layers on", "Rate", "Latency, nothing waiting", text=4, wide=3
    )  # fmt: skip
    rows = tuple(
        (
            Cell(app.id), Cell(app.model), Cell(f"{app.source}, {app.target}"), Cell(where_words(app)),
            _hertz(app.rate_hz), _seconds(app.latency_s),
        )
        for app in plan.apps
    )  # fmt: skip
    return Table(columns, rows)


def devices_table(plan: InferencePlan) -> Table:
    """Return one row a device: what stays in its memories."""
    columns = _columns("Device", "Kind", "Kernels a processor", "Biases", "Layers", "Data an instance", text=2)
    rows = tuple(
        (
            Cell(one.id), Cell(one.kind), Cell(format_bytes_of(one.kernel_bytes, one.most_kernel_bytes)),
            Cell(format_bytes_of(one.bias_bytes, one.most_bias_bytes)), Cell(f"{one.layers} / {one.most_layers}"),
            Cell(format_bytes_of(one.data_bytes, one.most_data_bytes)),
        )
        for one in plan.devices
    )  # fmt: skip
    return Table(columns, rows)


def strategies_table(plan: InferencePlan, rows: Sequence[ComparedApps]) -> Table:
    """Return one row a strategy, this plan first: its period, how much faster this plan is, and every app's rate.

    Parameters
    ----------
    plan
        The plan.
    rows
        Other strategies.
    """
    columns = _columns("Strategy", "Period", "This plan is", *(app.id for app in plan.apps))
    first = (
        Cell(plan.strategy), _seconds(plan.period_s), Cell("1.00x", 1.0), *(_hertz(app.rate_hz) for app in plan.apps)
    )  # fmt: skip
    return Table(columns, (first, *(_strategy(plan, row) for row in rows)))


def _strategy(plan: InferencePlan, row: ComparedApps) -> tuple[Cell, ...]:
    if row.period_s is None or row.rates_hz is None:
        return (Cell(row.strategy, note=row.infeasible or ""), *(NOTHING,) * (2 + len(plan.apps)))
    ratio = NOTHING if row.ratio is None else Cell(f"{row.ratio:.2f}x", row.ratio)
    return (Cell(row.strategy), _seconds(row.period_s), ratio, *(_hertz(row.rates_hz[app.id]) for app in plan.apps))


def rates_table(cells: Sequence[RateCell]) -> Table:
    """Return a row a link rate, a column a rate of loading: how much faster the plan is than the baselines.

    Parameters
    ----------
    cells
        The pairs of rates.
    """
    reloads = sorted({cell.reload_bytes_per_s for cell in cells})
    found = {(cell.link_bps, cell.reload_bytes_per_s): cell for cell in cells}
    columns = (
        Column("Link"),
        *(Column(f"{rate / 1e6:g} MB/s", is_number=True, group="Weights from flash") for rate in reloads),
    )
    rows = tuple(
        (Cell(format_rate(link), link), *(_pair(found.get((link, rate))) for rate in reloads))
        for link in sorted({cell.link_bps for cell in cells})
    )
    return Table(columns, rows)


def _pair(cell: RateCell | None) -> Cell:
    if cell is None:
        return NOTHING
    note = f"{format_seconds(cell.period_s)}, gap {100 * cell.gap:.1f} %"
    if cell.over_source_only is not None:
        note += f"; {cell.over_source_only:.1f}x source-only"
    return Cell(ratio_words(cell), note=note)


def replayed_table(summary: ReplaySummary) -> Table:
    """Return one row an app: planned and replayed rate, and its latency with waits."""
    rows = tuple(
        (
            Cell(app.id), Cell(f"{app.frames:,}", app.frames), _hertz(app.planned_rate_hz), _hertz(app.rate_hz),
            _seconds(app.latency_s),
        )
        for app in summary.apps
    )  # fmt: skip
    return Table(_columns("App", "Frames", "Planned", "Replayed", "Latency with waits"), rows)


def kinds_table(plan: InferencePlan) -> Table:
    """Return one row a kind of accelerator: how its figures are known, and from where."""
    scenario = validate_inference(plan.scenario, "the plan's scenario")
    kinds = {one.kind: find_accelerator(one.kind, scenario.devices, one.id) for one in scenario.placed()}
    rows = tuple((Cell(kind), Cell(chip.confidence.value), Cell(chip.source)) for kind, chip in kinds.items())
    return Table((Column("Kind"), Column("Known as"), Column("Source", is_prose=True)), rows)
