"""What ``profile`` prints and draws, from option tables made by hand."""

from __future__ import annotations

import io
import re

import pandas as pd
from rich.console import Console, RenderableType

from hybridsplit.orchestrator.report.memory_by_cut import memory_by_cut_figure, memory_page
from hybridsplit.orchestrator.views.profile import breakdown_table, fits_table, gap_line, memory_chart
from hybridsplit.profiler.memory import MemoryBreakdown
from hybridsplit.scenarios.contracts.options import GAP_COLUMN, OPTION_COLUMNS, OptionTable

MIB = 1 << 20


def options(budgets: dict[str, int], peaks: dict[tuple[int, str, str], int]) -> OptionTable:
    rows = []
    for client, budget in budgets.items():
        for (cut, mode, recompute), peak in peaks.items():
            rows.append(
                dict.fromkeys(OPTION_COLUMNS, 0)
                | {
                    "client": client,
                    "device": "board",
                    "cut": cut,
                    "mode": mode,
                    "recompute": recompute,
                    "client_compute_s": 6.0,
                    "client_peak_bytes": peak,
                    "memory_budget_bytes": budget,
                    "fits": peak <= budget,
                    "confidence": "derived",
                }
            )
    return OptionTable(pd.DataFrame(rows))


PEAKS = {
    (1, "fo", ""): 16 * MIB,
    (2, "fo", ""): 64 * MIB,
    (3, "fo", ""): 256 * MIB,
    (3, "fo-recompute", "k1 a2 a3 a1 a2 g3 b3 a1 g2 b2 g1 b1"): 32 * MIB,
    (3, "fo-recompute", "k1 a2 k3 g3 b3 a1 g2 b2 g1 b1"): 128 * MIB,
    (2, "zo-loss", ""): 8 * MIB,
    (3, "zo-loss", ""): 16 * MIB,
}
TABLE = options({"small-0": 12 * MIB, "large-0": 64 * MIB, "large-1": 64 * MIB}, PEAKS)


def printed(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_deepest_fitting_cut_and_what_is_missing() -> None:
    text = printed(fits_table(TABLE, local_steps=3))
    assert re.search(r"large x2 +board +fo +2 of 3 +64.00 MiB +100% of 64.00 MiB +2.00 s", text)
    assert re.search(r"fo-recompute +3 of 3 +32.00 MiB +50% of 64.00 MiB", text)
    assert re.search(r"small x1 +board +fo +none +16.00 MiB +\+4.00 MiB", text)
    assert re.search(r"zo-loss +2 of 3 +8.00 MiB +67% of 12.00 MiB", text)


def test_the_breakdown_adds_up_and_leaves_out_what_nobody_has() -> None:
    text = printed(breakdown_table({"cut 1 fo": MemoryBreakdown(parameters=MIB, gradients=2 * MIB)}))
    assert re.search(r"cut 1 fo +3.00 MiB +1.00 MiB +2.00 MiB\s*$", text, re.MULTILINE)
    assert "optimizer" not in text


def test_the_chart_is_this_picture() -> None:
    lines = [line.rstrip() for line in printed(memory_chart(TABLE)).splitlines()]
    assert lines == [
        "  256.00 MiB ┤        F",
        "             │",
        "             │",
        "             │        R",
        "             │        R",
        "   64.00 MiB ┤·····F··R  budget",
        "             │        R",
        "             │        R",
        "             │        R",
        "             │",
        "             │  F     L",
        "   12.00 MiB ┤·········  budget",
        "             │",
        "    8.00 MiB ┤     L",
        "             └─────────",
        "                1     3  cut",
        "              F fo   R fo-recompute   L zo-loss",
    ]


def test_one_option_alone_can_be_drawn() -> None:
    alone = options({"a-0": MIB}, {(1, "fo", ""): MIB})
    assert "F fo" in printed(memory_chart(alone))
    assert len(memory_by_cut_figure(alone).data) == 1


def test_the_picture_needs_no_network_and_escapes_names() -> None:
    hostile = options({"a<script>-0": 64 * MIB}, PEAKS)
    page = memory_page("</title><script>alert(1)</script>", hostile)
    assert "<script>alert" not in page
    assert "a<script>" not in page
    assert 'src="http' not in page
    figure = memory_by_cut_figure(TABLE)
    names = {trace.name for trace in figure.data if trace.name}
    assert names == {"fo", "fo-recompute", "zo-loss"}
    hovers = [text for trace in figure.data if trace.customdata is not None for text in trace.customdata]
    assert any("1 input kept" in text for text in hovers)
    visible = memory_page("small", TABLE)
    for row in TABLE.table[TABLE.table["client"] == TABLE.table["client"].iloc[0]].to_dict("records"):
        assert f'data-label="Peak memory" data-value="{row["client_peak_bytes"]}"' in visible


def test_a_thousand_kinds_fill_one_screen() -> None:
    table = fits_table(options({f"g{i}-0": 64 * MIB for i in range(1000)}, PEAKS), local_steps=1)
    assert table.row_count <= 24 * 3
    assert table.caption == "and 976 kinds more: see the option table (--out F.parquet)"


def test_orders_that_stand_in_for_exact_ones_say_how_far_they_may_be_off() -> None:
    exact = options(
        {"a": 8 * MIB},
        {
            (
                1,
                "fo-recompute",
                "",
            ): MIB,
            (2, "fo-recompute", ""): 2 * MIB,
        },
    )
    assert gap_line(exact) == ""
    replaced = OptionTable(exact.table.assign(**{GAP_COLUMN: [0.0, 0.25]}))
    assert gap_line(replaced).startswith(
        "recompute orders: from cut 2 on the chain is too deep for the exact programme"
    )
    assert "at most 25% more forward work" in gap_line(replaced)
