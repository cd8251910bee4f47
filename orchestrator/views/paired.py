"""Plans compared on the same links, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.scenarios.contracts.summary import LatencyFigure
from hybridsplit.scenarios.units import format_seconds

if TYPE_CHECKING:
    from hybridsplit.orchestrator.studies.paired import PairedReplay


def paired_table(compared: Sequence[PairedReplay]) -> Table:
    """Return one row a plan: its rounds, and how they differ from the first plan's."""
    title = f"Plans on the same links, {len(compared[0].latencies_s):,} rounds"
    table = FittingTable(title)
    names = ("plan", "strategy", "planned", "mean", "p50", "p95", "minus the first", "of its time", "to progress")
    for name in names:
        table.add_column(name, justify="left" if name in ("plan", "strategy") else "right", overflow="fold")
    for one in compared:
        spread = one.latencies
        table.add_row(
            escape(one.name),
            escape(one.strategy),
            format_seconds(one.round_latency_planned_s),
            format_seconds(one.mean_s),
            "-" if spread is None else format_seconds(spread.p50.seconds),
            "-" if spread is None else format_seconds(spread.p95.seconds),
            "-" if one.difference is None else signed(one.difference.seconds),
            f"{one.ratio:.3f}x",
            "-" if one.progress_ratio is None else f"{one.progress_ratio:.3f}x",
        )
    return table


def paired_lines(compared: Sequence[PairedReplay]) -> list[str]:
    """Return in words what is known of each difference."""
    lines = []
    for one in compared[1:]:
        if one.difference is None:
            lines.append(f"{one.name}: a single round has no interval; give more with --rounds")
            continue
        lines.append(
            f"{one.name} minus {compared[0].name}: {signed(one.difference.seconds)} a round "
            f"[{signed(one.difference.low_s)}, {signed(one.difference.high_s)}] (95 % interval of paired differences), "
            f"shorter in {one.shorter:.0%} of rounds: {_verdict(one.difference)}"
        )
    windows = [one.latencies.distinct_windows for one in compared if one.latencies is not None]
    if windows:
        few = min(windows) < len(compared[0].latencies_s)
        overlap = ", so they overlap and the intervals are too narrow" if few else ""
        lines.append(f"{min(windows)} distinct windows in the shortest trace{overlap}")
    return lines


def signed(seconds: float) -> str:
    """Return seconds with their sign."""
    return f"{'-' if seconds < 0 else '+'}{format_seconds(abs(seconds))}"


def _verdict(difference: LatencyFigure) -> str:
    if difference.high_s < 0:
        return "its rounds are shorter"
    if difference.low_s > 0:
        return "its rounds are longer"
    return "no difference is shown"
