"""The report of a model that is cut several times: one HTML page that needs no network and no other file."""

from __future__ import annotations

import yaml

from hybridsplit.orchestrator.relays.figures import (
    KIND_COLOURS,
    blocks_figure,
    busy_figure,
    gantt_figure,
    node_colours,
)
from hybridsplit.orchestrator.relays.replaying import RelaySummary, intervals_of
from hybridsplit.orchestrator.relays.views import WHAT, blocks_words, relay_headline, replay_line
from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.units import format_bytes, format_seconds


def render_relay_report(plan: RelayPlan, summary: RelaySummary) -> str:
    """Render the report.

    Parameters
    ----------
    plan, summary
        The plan, and what its replay and the comparison found.

    Returns
    -------
    str
        A complete HTML page; text of the user is escaped.
    """
    # An id is no CSS class: marks go by position.
    nodes = node_colours(plan)
    node_marks = {name: f"node-{index}" for index, name in enumerate(nodes)}
    kind_marks = {name: f"kind-{index}" for index, name in enumerate(KIND_COLOURS)}
    marks = {mark: nodes[name] for name, mark in node_marks.items()}
    marks |= {mark: KIND_COLOURS[name] for name, mark in kind_marks.items()}
    name = str(plan.scenario["name"])
    values = {
        "plan": plan,
        "summary": summary,
        "what": WHAT[plan.objective],
        "headline": relay_headline(plan).splitlines(),
        "replayed": replay_line(summary, plan),
        "node_marks": node_marks,
        "kind_marks": kind_marks,
        "shapes": {},
        "blocks_figure": drawn(blocks_figure(plan)),
        "gantt_figure": drawn(gantt_figure(intervals_of(summary), summary.value_s)),
        "busy_figure": drawn(busy_figure(plan)),
        "clients_table": _clients(plan, summary),
        "parts_table": _parts(plan),
        "strategies_table": _strategies(summary),
        "scenario_yaml": yaml.safe_dump(plan.scenario, sort_keys=False, allow_unicode=True, width=100),
    }
    return render_page("hybridsplit.orchestrator.relays", f"{name}: {plan.strategy} plan", name, marks, values)


def _columns(*labels: str, text: int = 1) -> tuple[Column, ...]:
    return tuple(Column(label, is_number=position >= text) for position, label in enumerate(labels))


def _seconds(seconds: float) -> Cell:
    return Cell(format_seconds(seconds), seconds)


def _bytes(size_bytes: int) -> Cell:
    return Cell(format_bytes(size_bytes), size_bytes)


def _clients(plan: RelayPlan, summary: RelaySummary) -> Table:
    rows = tuple(
        (
            Cell(client.id), Cell(" > ".join(client.path[1:])), Cell(blocks_words(client)),
            Cell(str(client.micro_batches), client.micro_batches), _seconds(client.alone_s), _seconds(client.latency_s),
            _seconds(summary.ends_s[client.id]),
        )
        for client in plan.clients
    )  # fmt: skip
    columns = _columns(
        "Client", "Path", "Blocks on", "Micro-batches", "Alone", "Planned beside all", "Replayed", text=3
    )  # fmt: skip
    return Table(columns, rows)


def _parts(plan: RelayPlan) -> Table:
    rows = tuple(
        (
            Cell(client.id), Cell(part.node), Cell(part.device), Cell(f"{part.first_block} to {part.last_block}"),
            Cell(str(part.warm_up), part.warm_up), _seconds(part.forward_s), _seconds(part.backward_s),
            _seconds(part.update_s), _bytes(part.peak_bytes),
        )
        for client in plan.clients
        for part in client.placement
    )  # fmt: skip
    return Table(
        _columns("Client", "Machine", "Device", "Blocks", "Warm-up", "Forward", "Backward", "Update", "Peak", text=4),
        rows,
    )


def _strategies(summary: RelaySummary) -> Table:
    rows = tuple(
        (Cell(row.strategy, note=row.infeasible or ""), *(NOTHING,) * 4)
        if row.value_s is None
        else (
            Cell(row.strategy), Cell(str(row.most_cuts), row.most_cuts), _seconds(row.value_s),
            NOTHING if row.ratio is None else Cell(f"{row.ratio:.2f}x", row.ratio),
            NOTHING if row.lower_bound_s is None else _seconds(row.lower_bound_s),
        )
        for row in summary.strategies
    )  # fmt: skip
    return Table(_columns("Strategy", "Cuts", "Takes", "Of optimal", "None is below"), rows)
