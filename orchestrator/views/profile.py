"""What ``profile`` prints: what fits on every kind of device, what the memory is for, and a picture of it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.profiler.memory import MemoryBreakdown, Role
from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.contracts.options import GAP_COLUMN, OptionTable
from hybridsplit.scenarios.modes import MODES
from hybridsplit.scenarios.units import format_bytes, format_seconds

_CHART_ROWS = 14
_MOST_COLUMNS = 60
_CHOICES = ("batch_size", "head_blocks", "micro_batches")
"""What peaks and costs of a mode are shown apart by."""
_MOST_KINDS = 24


def _table(title: str, columns: Iterable[str], left: frozenset[str]) -> Table:
    table = FittingTable(title)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in ("client", "device"))
    return table


def by_group(options: OptionTable) -> list[tuple[str, str, pd.DataFrame]]:
    """Return label, device and the rows of one client for every kind of client."""
    frame = options.table.assign(group=options.table["client"].str.rsplit("-", n=1).str[0])
    return [
        (f"{group} x{rows['client'].nunique()}", str(device), rows[rows["client"] == rows["client"].iloc[0]])
        for (group, device), rows in frame.groupby(["group", "device"], sort=False)
    ]


def deepest_fitting(rows: pd.DataFrame) -> pd.Series | None:
    """Return the row of the deepest option within the budget; of those of its cut, the one with the least compute.

    None if no option fits.
    """
    fitting = rows[rows["fits"]]
    if fitting.empty:
        return None
    return fitting.sort_values(["cut", "client_compute_s"], ascending=[False, True]).iloc[0]


def fits_table(options: OptionTable, local_steps: int | None = None) -> Table:
    """Return what fits: for each kind of client, mode and batch size the deepest cut within the budget.

    Parameters
    ----------
    options
        The option table.
    local_steps
        Steps of a round, to give compute a step; compute is given by the round when None.
    """
    chooses_batch = options.varies("batch_size")
    batch = ("batch",) if chooses_batch else ()
    has_heads = options.varies("head_blocks")
    head = ("head",) if has_heads else ()
    has_parts = options.varies("micro_batches")
    parts = ("parts",) if has_parts else ()
    table = _table(
        "What fits, by kind of client and mode",
        (
            "client",
            "device",
            "mode",
            *batch,
            *head,
            *parts,
            "deepest cut",
            "peak",
            "of budget",
            f"compute a {'round' if local_steps is None else 'step'}",
            "on air a round",
        ),
        frozenset({"client", "device", "mode"}),
    )
    kinds = by_group(options)
    for label, device, rows in kinds[:_MOST_KINDS]:
        name, kind = escape(label), device
        for (mode, *choices), of_mode in rows.groupby(["mode", *_CHOICES], sort=False):
            best = deepest_fitting(of_mode)
            same = (rows[[*_CHOICES]] == choices).all(axis=1)
            plain = rows[(rows["mode"] == Mode.FO) & same]
            budget_bytes = int(of_mode["memory_budget_bytes"].iloc[0])
            if best is None and MODES[str(mode)].has_recompute_orders and deepest_fitting(plain) is not None:
                # Where ``fo`` fits, keeping all graphs is not offered a second time.
                cells = ["no deeper than fo", "-", "-", "-", "-"]
            elif best is None:
                least_bytes = int(of_mode["client_peak_bytes"].min())
                lacks_bytes = least_bytes - budget_bytes
                missing = f"+{format_bytes(lacks_bytes)}" if lacks_bytes > 0 else "at times too little"
                cells = ["none", format_bytes(least_bytes), missing, "-", "-"]
            else:
                cells = [
                    f"{best['cut']} of {of_mode['cut'].max()}",
                    format_bytes(best["client_peak_bytes"]),
                    f"{best['client_peak_bytes'] / budget_bytes:.0%} of {format_bytes(budget_bytes)}",
                    format_seconds(best["client_compute_s"] / (local_steps or 1)),
                    format_bytes(best["uplink_bytes"] + best["downlink_bytes"]),
                ]
            named = zip(choices, (chooses_batch, has_heads, has_parts), strict=True)
            chosen = [str(choice) for choice, is_named in named if is_named]
            table.add_row(name, kind, str(mode), *chosen, *cells)
            name, kind = "", ""
    if len(kinds) > _MOST_KINDS:
        table.caption = f"and {len(kinds) - _MOST_KINDS:,} kinds more: see the option table (--out F.parquet)"
        table.caption_justify = "left"
    return table


def worth_line(options: OptionTable) -> str:
    """What a step with each batch size is worth, relative to the largest; empty where there is one size."""
    worth = options.table.groupby("batch_size")["progress"].max()
    if len(worth) < 2:
        return ""
    worths = ", ".join(f"{size}: {share:.3g}" for size, share in (worth / worth.iloc[-1]).items())
    return f"worth of a step by batch size: {worths}"


def gap_line(options: OptionTable) -> str:
    """Return how far recompute orders may be from the least work; empty where all are known to be the least."""
    if GAP_COLUMN not in options.table:
        return ""
    replaced = options.table[options.table[GAP_COLUMN] > 0]
    return (
        f"recompute orders: from cut {replaced['cut'].min()} on the chain is too deep for the exact programme; its "
        f"orders do at most {replaced[GAP_COLUMN].max():.0%} more forward work than the least in as much memory (half "
        f"of them at most {replaced[GAP_COLUMN].median():.0%})"
    )


def breakdown_table(breakdowns: dict[str, MemoryBreakdown]) -> Table:
    """Return what the memory of some options is for.

    Parameters
    ----------
    breakdowns
        What the peak consists of, by the name of the option.
    """
    roles = [role for role in Role if any(getattr(found, role) for found in breakdowns.values())]
    columns = ("option", "peak", *(role.replace("_", " ") for role in roles))
    table = _table("What the peak consists of", columns, frozenset({"option"}))
    for name, found in breakdowns.items():
        table.add_row(name, format_bytes(found.peak_bytes), *(format_bytes(getattr(found, role)) for role in roles))
    return table


def memory_chart(options: OptionTable) -> Text:
    """Return peak memory over the cut as text: a letter a mode, budgets as dotted levels.

    ``fo-recompute`` fills the range between its levels. Deep models are thinned to what fits a line, and of several
    batch sizes the largest is drawn.
    """
    *smaller, largest = options.batch_sizes
    options = OptionTable(options.table[options.table["batch_size"] == largest])
    rows = max((rows for _, _, rows in by_group(options)), key=len)
    cuts = sorted(rows["cut"].unique())
    cuts = (
        [cuts[round(i * (len(cuts) - 1) / (_MOST_COLUMNS - 1))] for i in range(_MOST_COLUMNS)]
        if (len(cuts) > _MOST_COLUMNS)
        else cuts
    )
    low, high = float(rows["client_peak_bytes"].min()), float(rows["client_peak_bytes"].max())
    width = 3 if len(cuts) <= 20 else 2 if len(cuts) <= 30 else 1

    def level(size_bytes: float) -> int:
        share = math.log(size_bytes / low) / math.log(high / low) if high > low else 0.0
        return round(share * (_CHART_ROWS - 1))

    cells: dict[tuple[int, int], str] = {}
    # Ranges first, then the modes that need most: those that need least are never hidden.
    shown = [mode for mode in MODES if mode in set(rows["mode"])]
    mean = rows.groupby("mode")["client_peak_bytes"].mean()
    for mode in sorted(shown, key=lambda m: (not MODES[m].has_recompute_orders, -mean[m])):
        of_mode = rows[rows["mode"] == mode].groupby("cut")["client_peak_bytes"]
        for cut, least, most in zip(of_mode.min().index, of_mode.min(), of_mode.max(), strict=True):
            if cut in cuts:
                for y in range(level(least), level(most) + 1):
                    cells[cuts.index(cut), y] = mode
    budgets = {level(b): b for b in sorted(set(options.table["memory_budget_bytes"])) if low <= b <= high}
    chart = Text()
    for y in range(_CHART_ROWS - 1, -1, -1):
        size_bytes = budgets.get(y, low * (high / low) ** (y / (_CHART_ROWS - 1)))
        named = y in budgets or y in (0, _CHART_ROWS - 1)
        chart.append(f"{format_bytes(size_bytes) if named else '':>12} ", style="bold" if y in budgets else "dim")
        chart.append("┤" if named else "│", style="dim")
        for x in range(len(cuts)):
            drawn = cells.get((x, y))
            blank = "·" if y in budgets else " "
            chart.append(blank * (width - 1), style="dim")
            chart.append(MODES[drawn].letter if drawn else blank, style=MODES[drawn].style if drawn else "dim")
        chart.append("  budget\n" if y in budgets else "\n", style="dim")
    every = max(1, math.ceil(4 / width))
    chart.append(" " * 13 + "└" + "─" * (width * len(cuts)) + "\n", style="dim")
    labels = (f"{cut:>{width}}" if i % every == 0 else " " * width for i, cut in enumerate(cuts))
    batch = f", batches of {largest}" if smaller else ""
    chart.append(" " * 14 + "".join(labels) + f"  cut{batch}\n", style="dim")
    chart.append(" " * 14)
    for mode in shown:
        chart.append(f"{MODES[mode].letter} {mode}   ", style=MODES[mode].style)
    return chart
