"""The report of a model that is cut several times: one HTML page that needs no network and no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from hybridsplit.orchestrator.relays.figures import (
    KIND_COLOURS,
    blocks_figure,
    busy_figure,
    gantt_figure,
    node_colours,
)
from hybridsplit.orchestrator.relays.replaying import RelaySummary, TrainedFigures, intervals_of
from hybridsplit.orchestrator.relays.views import WHAT, blocks_words, relay_headline, replay_line, training_lines
from hybridsplit.orchestrator.report.cells import NOTHING, Cell, Column, Table
from hybridsplit.orchestrator.report.figures import learning_curves
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.orchestrator.report.palette import PHASE_LABELS
from hybridsplit.scenarios.contracts.phases import ROUND_ORDER, Phase
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.scores import score_in
from hybridsplit.scenarios.units import format_bytes, format_seconds

if TYPE_CHECKING:
    import pandas as pd


def render_relay_report(plan: RelayPlan, summary: RelaySummary, rounds: pd.DataFrame | None = None) -> str:
    """Render the report.

    Parameters
    ----------
    plan, summary
        The plan, and what its replay, the comparison and the run found.
    rounds
        One row a round of training; None where nothing was trained.

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
    name, judged = str(plan.scenario["name"]), score_in(plan.scenario)
    values = {
        "plan": plan,
        "summary": summary,
        "what": WHAT[plan.objective],
        "headline": [*relay_headline(plan).splitlines(), *training_lines(summary)],
        "replayed": replay_line(summary, plan),
        "node_marks": node_marks,
        "kind_marks": kind_marks,
        "shapes": {},
        "blocks_figure": drawn(blocks_figure(plan)),
        "gantt_figure": drawn(gantt_figure(intervals_of(summary), summary.value_s)),
        "busy_figure": drawn(busy_figure(plan)),
        "clients_table": _clients(plan, summary),
        "parts_table": _parts(plan, summary),
        "score": judged.label,
        "score_figure": None if rounds is None else drawn(learning_curves(rounds, None, judged.column)),
        "loss_figure": None if rounds is None else drawn(learning_curves(rounds, None, "train_loss")),
        "bytes_table": None if summary.training is None else _bytes_by_source(summary.training),
        "memory_table": _memory(plan, summary),
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


def _parts(plan: RelayPlan, summary: RelaySummary) -> Table:
    rows = tuple(
        (
            Cell(client.id), Cell(part.node), Cell(part.device), Cell(f"{part.first_block} to {part.last_block}"),
            Cell(str(part.replicas), part.replicas), Cell(str(part.warm_up), part.warm_up), _seconds(part.forward_s),
            _seconds(part.backward_s), _seconds(part.update_s + part.reduce_s), _bytes(part.peak_bytes),
            _measured(summary, client.id, part.node),
        )
        for client in plan.clients
        for part in client.placement
    )  # fmt: skip
    return Table(
        _columns(
            "Client",
            "Machine",
            "Device",
            "Blocks",
            "Replicas",
            "Warm-up",
            "Forward",
            "Backward",
            "Sums and update",
            "Peak",
            "Measured",
            text=4,
        ),
        rows,
    )


def _measured(summary: RelaySummary, client: str, node: str) -> Cell:
    """Return the measured peak of a client's blocks on a machine."""
    if summary.training is None:
        return NOTHING
    peaks = summary.training.peak_bytes if node == client else summary.training.node_peak_bytes.get(client, {})
    return _bytes(peaks[node]) if node in peaks else NOTHING


def _memory(plan: RelayPlan, summary: RelaySummary) -> Table:
    """One row a node that runs blocks: what is planned and measured of all clients together, and what it has."""
    rows: list[tuple[Cell, ...]] = []
    for node in plan.scenario["network"]["nodes"]:
        name, limit = node["node"], node["memory_bytes"]
        parts = [part for client in plan.clients for part in client.placement if part.node == name]
        if not parts:
            continue
        peaks = (
            []
            if summary.training is None
            else [of_client[name] for of_client in summary.training.node_peak_bytes.values() if name in of_client]
        )
        rows.append(
            (
                Cell(name), Cell(str(len(parts)), len(parts)), _bytes(sum(part.peak_bytes for part in parts)),
                _bytes(sum(peaks)) if peaks else NOTHING, Cell("no limit") if limit is None else _bytes(limit),
            )
        )  # fmt: skip
    return Table(_columns("Machine", "Clients", "Planned peak", "Measured", "Memory"), tuple(rows))


def _bytes_by_source(training: TrainedFigures) -> Table:
    """One row a phase: bytes over all links, planned, replayed and measured."""
    phases = [str(phase) for phase in ROUND_ORDER if any(str(phase) in found for found in training.bytes.values())]
    rows = tuple(
        (
            Cell(PHASE_LABELS[Phase(phase)]),
            *(_bytes(training.bytes.get(source, {}).get(phase, 0)) for source in ("planned", "replayed", "measured")),
        )
        for phase in phases
    )
    return Table(_columns("Phase", "Planned", "Replayed", "Measured"), rows)


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
