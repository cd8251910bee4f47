"""What-if studies in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.scenarios.units import format_joules, format_seconds

if TYPE_CHECKING:
    from hybridsplit.orchestrator.studies.what_if import WhatIf
    from hybridsplit.orchestrator.studies.what_if_cells import Cell

_BAR = 16


def what_if_table(study: WhatIf) -> Table:
    """Return one row a combination, with the value of what is minimised as a bar; the least is marked.

    Parameters
    ----------
    study
        The study.
    """
    table = FittingTable(f"What if: {escape(study.scenario)} by {escape(study.strategy)}")
    for one in study.varied:
        table.add_column(escape(one.key), no_wrap=True)
    has_cost = any(cell.cost is not None for cell in study.cells)
    heads = ("round", objective_name(study), "fullest client", "energy", *(["cost"] if has_cost else []))
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    known = [cell.objective for cell in study.cells if cell.objective is not None]
    for cell in study.cells:
        names = [escape(cell.values[one.key]) for one in study.varied]
        if cell.objective is None:
            table.add_row(*names, "[red]no plan[/]")
            continue
        bar = "█" * max(1, round(_BAR * cell.objective / max(known))) if max(known) > 0 else ""
        table.add_row(
            *names,
            "-" if cell.round_latency_s is None else format_seconds(cell.round_latency_s),
            objective_text(study, cell),
            "-" if cell.fullest_share is None else f"{cell.fullest_share:.0%}",
            "-" if cell.energy_j is None else format_joules(cell.energy_j),
            *(["-" if cell.cost is None else f"{cell.cost:,.2f}"] if has_cost else []),
            bar + (" least" if cell.objective <= min(known) * (1 + 1e-9) else ""),
        )
    if not has_cost:
        table.caption = "cost is shown where every device has a price: --set devices.NAME.price=60"
        table.caption_justify = "left"
    return table


def objective_name(study: WhatIf) -> str:
    """Return what is minimised, for a heading."""
    return study.minimises.replace("-", " ") if study.minimises != "energy" else "energy minimised"


def objective_text(study: WhatIf, cell: Cell) -> str:
    """Return the value of what is minimised; a dash where there is no plan."""
    if cell.objective is None:
        return "-"
    return format_joules(cell.objective) if study.minimises == "energy" else format_seconds(cell.objective)


def infeasible_lines(study: WhatIf) -> list[str]:
    """Return why combinations have no plan; those with the same reason share a line."""
    alike: dict[str, list[str]] = {}
    for cell in study.cells:
        if cell.infeasible:
            alike.setdefault(cell.infeasible, []).append(" ".join(cell.values.values()))
    return [escape(f"{', '.join(names)}: {reason}") for reason, names in alike.items()]
