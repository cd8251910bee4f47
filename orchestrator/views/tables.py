"""Results as Rich tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from hybridsplit.scenarios.contracts.ledger import Ledger, Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.contracts.schedule import Simultaneous
from hybridsplit.scenarios.units import format_bytes, format_bytes_of, format_seconds

_MOST_ROWS = 24
"""Longer plans are shown by group of like clients."""


def plan_table(plan: Plan) -> Table:
    """One row a client, or a group of clients with the same option where there are many."""
    title = f"Plan of {escape(plan.scenario['name'])} by {escape(plan.strategy)}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("client", no_wrap=True)
    table.add_column("device", overflow="ellipsis")
    table.add_column("cut", justify="right", no_wrap=True)
    table.add_column("mode", no_wrap=True)
    chooses_batch = offers_batch_sizes(plan)
    if chooses_batch:
        table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("up/down/srv %", justify="right", no_wrap=True)
    table.add_column("latency", justify="right", no_wrap=True)
    table.add_column("peak / budget", justify="right", no_wrap=True)
    for names, client in _rows(plan.clients):
        shares = (client.uplink_share, client.downlink_share, client.server_share)
        table.add_row(
            escape(names),
            escape(client.device),
            str(client.cut),
            str(client.mode),
            *([str(client.batch_size)] if chooses_batch else []),
            "/".join(_percent(share) for share in shares),
            format_seconds(client.latency_s),
            format_bytes_of(client.client_peak_bytes, client.memory_budget_bytes),
        )
    return table


def offers_batch_sizes(plan: Plan) -> bool:
    """Whether the plan's scenario lets the planner choose among batch sizes."""
    training = plan.scenario["training"]
    return bool({*training.get("batch_sizes", ())} - {training["batch_size"]})


def worth_line(plan: Plan) -> str:
    """How the batch sizes of a plan are weighed, and whether that is known or assumed."""
    objective, training = plan.scenario["objective"], plan.scenario["training"]
    if objective["gradient_noise_scale"] is not None:
        scale = f"the stated gradient noise scale of {objective['gradient_noise_scale']:g} samples"
    elif objective["gradient_split"] == "measured":
        scale = "the gradient noise scale measured at the starting weights"
    else:
        scale = f"an assumed gradient noise scale of {training['batch_size']} samples (training.batch_size)"
    return f"batch sizes are weighed by {scale}"


def reason_lines(plan: Plan) -> list[str]:
    """What decided each client's option: one line a reason, with the clients it holds for."""
    who: dict[str, list[str]] = {}
    for names, client in _rows(plan.clients):
        who.setdefault(client.reason, []).append(names)
    return [f"[bold]{escape(', '.join(names))}[/]: {escape(reason)}" for reason, names in who.items() if reason]


def _rows(clients: Sequence[ClientPlan]) -> list[tuple[str, ClientPlan]]:
    if len(clients) <= _MOST_ROWS:
        return [(client.id, client) for client in clients]
    groups: dict[tuple[str, tuple[object, ...]], list[ClientPlan]] = {}
    for client in clients:
        key = (client.id.rsplit("-", 1)[0], client.key)
        groups.setdefault(key, []).append(client)
    return [(f"{key[0]} x{len(members)}", members[0]) for key, members in groups.items()]


def _percent(share: float) -> str:
    return f"{share * 100:.0f}" if share >= 0.1 or share == 0 else f"{share * 100:.2g}"


def plan_headline(plan: Plan) -> str:
    """What a plan achieves, and how good it provably is, in two lines."""
    is_static = isinstance(plan.schedule, Simultaneous)
    objective = f"{plan.objective_j:.4g} J" if plan.objective_j is not None else format_seconds(plan.objective_s)
    bound = f"{plan.lower_bound_j:.4g} J" if plan.lower_bound_j is not None else format_seconds(plan.lower_bound_s)
    scope = f"any static shares; no schedule at all can beat {format_seconds(plan.schedule_lower_bound_s)}"
    lines = [
        (
            f"round latency [bold]{format_seconds(plan.round_latency_s)}[/], expected progress {plan.progress:.3f}: "
            f"{plan.objective.replace('-', ' ')} {objective}"
        ),
        (
            f"{plan.status}: {_gap(plan)} the lower bound of {bound} for {scope if is_static else 'any schedule'} "
            f"(solved in {format_seconds(plan.solve_s)}, compiled in {format_seconds(plan.compile_s)})"
        ),
        *([f"left out, at their price: {escape(', '.join(plan.dropped))}"] if plan.dropped else []),
        *([worth_line(plan)] if offers_batch_sizes(plan) else []),
        *binding_lines(plan),
        *reason_lines(plan),
        *(escape(note) for note in plan.notes),
    ]
    return "\n".join(lines)


def binding_lines(plan: Plan, most: int = 6) -> list[str]:
    """What binds: what a little more of each resource saves, the most valuable first; what saves nothing is named."""
    worth = sorted((m for m in plan.marginals if m.saves_s > 1e-6 * plan.objective_s), key=lambda m: -m.saves_s)
    lines = [
        f"{escape(m.amount)} more {escape(m.resource)} saves {format_seconds(m.saves_s)}"
        + (f" ({escape(m.detail)})" if m.detail else "")
        for m in worth[:most]
    ]
    if len(worth) > most:
        lines.append(f"... and {len(worth) - most} more")
    idle = [f"{m.amount} more {m.resource}" for m in plan.marginals if m not in worth]
    if idle:
        lines.append(f"saves nothing: {escape(', '.join(idle))}")
    return [f"[bold]what binds[/] {lines[0]}", *(f"           {line}" for line in lines[1:])] if lines else []


def _gap(plan: Plan) -> str:
    return (
        "equal, to 1e-6, to"
        if plan.gap <= 1e-6
        else f"{plan.gap:.2%} above"
        if plan.gap >= 1e-4
        else f"{plan.gap:.1e} above"
    )


def truth_table(ledger: Ledger) -> Table:
    """Planned, replayed and measured, by phase: mean seconds of a client's round, and all bytes."""
    title = "Planned, replayed, measured (mean seconds of a client's round; bytes of the whole run)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("phase", "planned", "replayed", "waiting", "bytes planned", "bytes replayed", "bytes measured"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    frames = {source: ledger.of(source) for source in Source}
    for phase in Phase:
        of_phase = {source: frame[frame["phase"] == str(phase)] for source, frame in frames.items()}
        if not any(len(frame) for frame in of_phase.values()):
            continue
        sizes = [_total_bytes(of_phase[source]) for source in (Source.PLANNED, Source.REPLAYED, Source.MEASURED)]
        table.add_row(
            str(phase),
            _mean_s(of_phase[Source.PLANNED], "seconds"),
            _mean_s(of_phase[Source.REPLAYED], "seconds"),
            _mean_s(of_phase[Source.REPLAYED], "waiting_s"),
            *sizes,
        )
    return table


def _mean_s(frame: pd.DataFrame, column: str) -> str:
    return format_seconds(float(frame[column].mean())) if len(frame) else "-"


def _total_bytes(frame: pd.DataFrame) -> str:
    return f"{int(frame['bytes'].sum()):,}" if len(frame) else "-"


def comparison_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row a strategy, with time to progress relative to ``optimal``."""
    title = "Strategies on the same problem"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    trained = any("test_accuracy" in row for row in rows)
    names = ["strategy", "round latency", "progress", "time to progress", "vs optimal", "cuts", "modes"]
    chooses_batch = any("batch_sizes" in row for row in rows)
    names += ["batch sizes"] if chooses_batch else []
    for name in [*names, *(["accuracy", "frozen control"] if trained else [])]:
        is_text = name in ("strategy", "cuts", "modes", "batch sizes")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=name == "strategy")
    for row in rows:
        if row.get("infeasible"):
            table.add_row(str(row["strategy"]), "[red]infeasible[/]")
            continue
        table.add_row(
            str(row["strategy"]),
            format_seconds(row["round_latency_s"]),
            f"{row['progress']:.3f}",
            format_seconds(row["objective_s"]),
            f"{row['ratio']:.2f}x" if row.get("ratio") else "-",
            str(row["cuts"]),
            str(row["modes"]),
            *([str(row["batch_sizes"])] if chooses_batch else []),
            *(f"{row[key]:.1%}" for key in ("test_accuracy", "frozen_control_accuracy") if key in row),
        )
    return table


def infeasible_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why the strategies that have no plan have none."""
    return [escape(str(row["infeasible"])) for row in rows if row.get("infeasible")]


def decomposition_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """Where the gain over the best uniform cut comes from, at equal modes offered and no less progress."""
    title = "From the best uniform cut to the joint plan (same modes offered, no less progress)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("step", "round latency", "gain", "all together"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for step in steps:
        table.add_row(
            step["step"], format_seconds(step["round_latency_s"]), f"{step['gain']:.2f}x", f"{step['total_gain']:.2f}x"
        )
    if not steps:
        table.add_row("no uniform cut is feasible", "-", "-", "-")
    return table


def memory_line(plan: Plan, peak_bytes: Mapping[str, int]) -> str:
    """The client nearest to its budget, by what was measured."""
    measured = [(peak_bytes[c.id] / c.memory_budget_bytes, c) for c in plan.clients if c.id in peak_bytes]
    share, tightest = max(measured, key=lambda pair: pair[0])
    return (
        f"measured memory: every client within its budget; tightest {escape(tightest.id)} with "
        f"{format_bytes(peak_bytes[tightest.id])} of {format_bytes(tightest.memory_budget_bytes)} ({share:.0%}; "
        f"predicted {format_bytes(tightest.client_peak_bytes)})"
    )


def pareto_table(document: Mapping[str, Any]) -> Table:
    """One row a point of a front."""
    table = Table(
        title=f"Round latency against {escape(str(document['x']))}: {escape(str(document['scenario']))}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    heads = {"memory": "fullest client", "energy": "energy a round", "progress": "progress"}
    for name in (heads[str(document["x"])], "round latency", "lower bound", "gap"):
        table.add_column(name, justify="right")
    for point in document["points"]:
        x = float(point["x"])
        shown = {"memory": f"{x:.1%} of its budget", "energy": f"{x:.4g} J", "progress": f"{x:.4f}"}
        table.add_row(
            shown[str(document["x"])],
            format_seconds(point["round_latency_s"]),
            format_seconds(point["lower_bound_s"]),
            f"{point['gap']:.1e}",
        )
    return table
