"""A table that loses nothing on a narrow terminal: rows are written out in lines where columns have no room."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

_BETWEEN = 2
"""Spaces between two columns, and at both edges together."""
_SEPARATOR = " · "


class FittingTable(Table):
    """A table of strings whose columns never cut a word: a figure without its end or its unit would be another figure.

    Columns that may wrap do so between words, and those with ``overflow="fold"`` and a ``min_width`` within one. Where
    even that does not fit the terminal, a row becomes its first cell and lines of ``heading value``.

    Parameters
    ----------
    title
        What stands above.
    """

    def __init__(self, title: str = "") -> None:
        super().__init__(
            title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as a table, or as lines."""
        least = [_least_width(column) for column in self.columns]
        slack = options.max_width - sum(least) - _BETWEEN * len(least)
        if slack < 0:
            yield from self._records(options.max_width)
            return
        for column, width in zip(self.columns, least, strict=True):
            more = min(slack, _whole_width(column) - width)
            column.width = width + more
            slack -= more
        yield from super().__rich_console__(console, options)

    def _records(self, width: int) -> Iterator[Text]:
        if self.title is not None:
            yield Text.from_markup(str(self.title), style="italic")
        heads = [_plain(str(column.header)) for column in self.columns]
        for row in zip(*(column.cells for column in self.columns), strict=True):
            first, *others = (_plain(str(cell)) for cell in row)
            if first:
                yield Text(first, style="bold")
            pairs = zip(heads[1:], others, strict=True)
            pieces = [Text.assemble((head, "dim"), " ", text) for head, text in pairs if text]
            for line in _filled(pieces, width - _BETWEEN):
                yield Text(" " * _BETWEEN) + line
        yield Text("")
        if self.caption is not None:
            yield Text.from_markup(str(self.caption), style="dim")


def _filled(pieces: list[Text], width: int) -> list[Text]:
    """Put as many pieces into a line as it holds."""
    lines: list[Text] = []
    for piece in pieces:
        joined = Text(_SEPARATOR).join([lines[-1], piece]) if lines else piece
        if lines and joined.cell_len <= width:
            lines[-1] = joined
        else:
            lines.append(piece)
    return lines


def _plain(markup: str) -> str:
    return Text.from_markup(markup).plain


def _texts(column: Column) -> list[str]:
    return [_plain(str(column.header)), *(_plain(str(cell)) for cell in column.cells)]


def _whole_width(column: Column) -> int:
    return max(cell_len(text) for text in _texts(column))


def _least_width(column: Column) -> int:
    whole = _whole_width(column)
    if column.no_wrap:
        return whole
    if column.min_width is not None:
        return min(whole, column.min_width)
    head, *cells = _texts(column)
    if column.justify != "right":  # a figure stays with its unit
        cells = [word for text in cells for word in text.split()]
    return max(map(cell_len, [*head.split(), *cells]), default=0)
