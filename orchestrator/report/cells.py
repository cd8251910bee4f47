"""The tables of the report as plain values, so that one template macro renders them all."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    text
        What is read.
    value
        The exact figure behind the text, carried in the page as ``data-value``.
    note
        A small second line.
    tag
        A small label beside the text.
    mark
        Class of the coloured mark before the text.
    bar
        Filled fraction of the bar under the text; None for no bar.
    """

    text: str
    value: float | None = None
    note: str = ""
    tag: str = ""
    mark: str = ""
    bar: float | None = None


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    label
        Its heading.
    is_number
        Whether its cells are figures, set flush right.
    group
        Heading over neighbouring columns of the same group.
    is_prose
        Whether its cells are sentences, which need width.
    is_wide
        Whether its cells are names that may break over lines.
    has_filter
        Whether a long table offers its values to choose from.
    """

    label: str
    is_number: bool = False
    group: str = ""
    is_prose: bool = False
    is_wide: bool = False
    has_filter: bool = False

    @property
    def name(self) -> str:
        """Its heading together with its group's."""
        return f"{self.group}: {self.label[:1].lower()}{self.label[1:]}" if self.group else self.label


@dataclass(frozen=True)
class Table:
    """A table.

    Parameters
    ----------
    columns
        The columns.
    rows
        Rows of as many cells.
    caption
        What the table shows, read before it.
    has_total
        Whether the last row is a total.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    has_total: bool = False

    @property
    def is_sortable(self) -> bool:
        """Whether its rows may be put into another order, and are enough for that to help."""
        return not self.has_total and len(self.rows) >= _FEWEST_SORTED

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Column groups with the number of columns each spans; empty when no column has one."""
        if not any(column.group for column in self.columns):
            return ()
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return tuple(spans)


_FEWEST_SORTED = 4
NOTHING = Cell("–")


def percent(fraction: float, digits: int = 3) -> str:
    """Render a fraction as per cent with so many significant digits, for example ``"12.5 %"``."""
    if not math.isfinite(fraction):
        return "–"
    value = fraction * 100
    if value == 0 or abs(value) >= 10 ** (digits - 1) - 0.05:
        return f"{value:,.0f} %"
    return f"{value:#.{digits}g}".rstrip(".") + " %"


def difference(value: float, reference: float) -> str:
    """Render the relative difference of a value from its reference, for example ``"+1.2 %"`` or ``"equal"``."""
    if not (math.isfinite(value) and math.isfinite(reference)):
        return ""
    if math.isclose(value, reference, rel_tol=1e-6, abs_tol=1e-9):
        return "equal" if value else ""
    return f"{(value / reference - 1) * 100:+.1f} %".replace("-", "−") if reference else "not planned"
