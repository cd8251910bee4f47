"""What was found of machines, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.doctor.checks import Check
from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.scenarios.units import counted

_MOST_ROWS = 40


def check_table(checks: Sequence[Check]) -> Table:
    """Return one row a check; of many only those that do not hold, and how many there are.

    Parameters
    ----------
    checks
        In order.
    """
    table = FittingTable("Ready for a run?")
    for head in ("where", "what", "found", "needed", ""):
        table.add_column(head, no_wrap=head != "needed")
    shown = checks if len(checks) <= _MOST_ROWS else [check for check in checks if not check.is_right]
    for check in shown[:_MOST_ROWS]:
        cells = (check.place, check.what, check.found, check.needed)
        table.add_row(*(escape(cell) for cell in cells), "ok" if check.is_right else "[bold]WRONG[/bold]")
    return table


def verdict(checks: Sequence[Check]) -> list[str]:
    """Say how many checks hold, and what to do about the others.

    Parameters
    ----------
    checks
        In order.
    """
    wrong = [check for check in checks if not check.is_right]
    if not wrong:
        return [f"{counted(len(checks), 'check')}: all hold"]
    remedies = dict.fromkeys(f"{check.place}: {check.what}: {check.remedy}" for check in wrong)
    return [
        f"{len(wrong)} of {counted(len(checks), 'check')} do not hold:",
        *(f"  {escape(line)}" for line in list(remedies)[:_MOST_ROWS]),
    ]
