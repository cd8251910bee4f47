"""Put the report together: one HTML page that needs no network and no other file."""

from __future__ import annotations

import yaml

from hybridsplit.orchestrator.plan_words import energy_line, no_bottlenecks, proof
from hybridsplit.orchestrator.report import palette
from hybridsplit.orchestrator.report.background import confidence_table, cost_table, option_table
from hybridsplit.orchestrator.report.data import ReportData
from hybridsplit.orchestrator.report.figures import learning_figure, memory_figure, phase_figure
from hybridsplit.orchestrator.report.gantt import (
    ShownRound,
    critical_table,
    gantt_figure,
    latency_table,
    queue_figure,
    use_figure,
)
from hybridsplit.orchestrator.report.headline import tiles, what_training_bought
from hybridsplit.orchestrator.report.memory_by_cut import memory_by_cut_figure
from hybridsplit.orchestrator.report.page import drawn, render_page
from hybridsplit.orchestrator.report.palette import PHASE_COLOURS
from hybridsplit.orchestrator.report.tables import bottleneck_table, client_list, plan_table, resource_table
from hybridsplit.orchestrator.report.truth import truth_tables
from hybridsplit.orchestrator.timeline.use import RESOURCES
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import HEAD_PHASES, MOVING_PHASES, ROUND_ORDER, Phase
from hybridsplit.scenarios.modes import MODES


def render_report(data: ReportData) -> str:
    """Render the report.

    Parameters
    ----------
    data
        What it shows.

    Returns
    -------
    str
        A complete HTML page. Styles, scripts and figures are inside; every section is there, and one with nothing to
        show says so. Text of the user is escaped.
    """
    truth, truth_details = truth_tables(data)
    shown = None if data.ledger.of(Source.REPLAYED).empty else ShownRound(data)
    column = data.score.column
    has_score = not data.rounds.empty and bool(data.rounds[column].notna().any())
    has_loss = not data.rounds.empty and bool(data.rounds["train_loss"].notna().any())
    moves = data.followed is not None and any(change.moved_bytes for change in data.followed.changes)
    occurs = {
        **dict.fromkeys(MOVING_PHASES, moves),
        **dict.fromkeys(HEAD_PHASES, any(client.head_blocks for client in data.plan.clients)),
        Phase.PROPAGATION: _delays(data),
        Phase.MEMORY: any(client.levels for client in data.plan.clients),
        Phase.OVERLAPPED: any(client.overlaps for client in data.plan.clients),
        Phase.ABANDONED: data.plan.deadline_s is not None or _may_leave(data),
    }
    phases = [phase for phase in ROUND_ORDER if occurs.get(phase, True)]
    chosen_modes = [mode for mode in MODES if any(client.mode == mode for client in data.plan.clients)]
    values = {
        "data": data,
        "plan": data.plan,
        "scenario": data.scenario,
        "palette": palette,
        "phases": phases,
        "modes": tuple(MODES.values()),
        "tiles": tiles(data),
        "proof": proof(data.plan, data.bounds),
        "plan_table": plan_table(data),
        "client_list": client_list(data) if data.is_grouped else None,
        "resource_table": resource_table(data),
        "bottleneck_table": bottleneck_table(data.plan),
        "no_bottlenecks": no_bottlenecks(data.plan),
        "phase_figure": drawn(phase_figure(data)),
        "memory_figure": drawn(memory_figure(data)),
        "memory_by_cut": None if data.options is None else drawn(memory_by_cut_figure(data.options)),
        "shown_round": shown,
        "latency_table": latency_table(data),
        "gantt_figure": None if shown is None else drawn(gantt_figure(shown)),
        "use_figure": None if shown is None else drawn(use_figure(shown)),
        "queue_figure": None if shown is None else drawn(queue_figure(shown)),
        "critical_table": None if shown is None else critical_table(shown),
        "is_measured": bool(data.memory["measured_peak_bytes"].notna().any()),
        "score_label": f"Test {data.score.label}",
        "accuracy_figure": drawn(learning_figure(data, column)) if has_score else None,
        "loss_figure": drawn(learning_figure(data, "train_loss")) if has_loss else None,
        "bought": what_training_bought(data),
        "truth": truth,
        "truth_details": truth_details,
        "truth_sources": sorted(set(data.ledger.table["source"])),
        "cost_table": cost_table(data),
        "energy_line": energy_line(data.plan),
        "confidence_table": confidence_table(data),
        "option_table": option_table(data),
        "scenario_yaml": yaml.safe_dump(data.scenario.resolved(), sort_keys=False, allow_unicode=True, width=100),
        "chosen_modes": chosen_modes,
        "resource_marks": {name: f"phase-{phases[0]}" for name, phases in RESOURCES.items()},
    }
    marks = {f"phase-{phase}": PHASE_COLOURS[phase] for phase in Phase} | {
        f"mode-{name}": mode.colour for name, mode in MODES.items()
    }
    scenario = data.scenario.name
    return render_page(__package__, f"{scenario}: {data.plan.strategy} plan", scenario, marks, values)


def _may_leave(data: ReportData) -> bool:
    """Whether some client leaves a round for want of memory instead of waiting."""
    skips = {one.id for one in data.scenario.expanded_clients() if one.memory and one.memory.below_floor == "skip"}
    return any(client.levels and client.id in skips for client in data.plan.clients)


def _delays(data: ReportData) -> bool:
    """Say whether anything is on its way for some time in the plan."""
    return any(client.phases_s.get(Phase.PROPAGATION, 0.0) > 0 for client in data.plan.clients)
