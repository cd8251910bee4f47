"""Nothing is lost on a narrow terminal: every figure keeps its digits and its unit, every name its letters."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hybridsplit.orchestrator.views.fitting import FittingTable

WORDS = st.text("abcdefghij_0123456789", min_size=1, max_size=14)
FIGURES = st.builds("{:,} {}".format, st.integers(0, 10**10), st.sampled_from(("s", "MiB", "%")))


def printed(table: FittingTable, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(WORDS, FIGURES, WORDS, FIGURES), min_size=1, max_size=5), width=st.integers(40, 120))
def test_every_name_and_figure_is_whole(rows: list[tuple[str, ...]], width: int) -> None:
    table = FittingTable("What there is")
    for name, justify in (("client", "left"), ("latency", "right"), ("device", "left"), ("peak memory", "right")):
        table.add_column(name, justify=justify)
    for row in rows:
        table.add_row(*row)
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width
    for row in rows:
        for cell in row:
            assert re.search(rf"(?<!\S){re.escape(cell)}(?!\S)", text), cell
    assert "…" not in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_an_escaped_name_stays_what_it_was(width: int) -> None:
    table = FittingTable("t")
    for name in ("client", "mode", "batch", "latency", "peak", "budget"):
        table.add_column(name)
    table.add_row(r"\[bold]pi", "fo", "16", "12.5 ms", "1.25 MiB", "2.00 MiB")
    assert "[bold]pi" in printed(table, width)


def test_a_list_is_written_out_where_columns_have_no_room() -> None:
    table = FittingTable("t")
    for name in ("strategy", "latency", "peak"):
        table.add_column(name, no_wrap=True)
    table.add_row("optimal", "131 ms of the round", "648.73 KiB")
    assert printed(table, 30).splitlines()[1:4] == ["optimal", "  latency 131 ms of the round", "  peak 648.73 KiB"]
    assert printed(table, 80).splitlines()[2].split() == ["strategy", "latency", "peak"]
