"""Plans, comparisons and replays of models that are cut several times, as Rich tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator.relays.planning import ComparedRelays
from hybridsplit.orchestrator.relays.replaying import RelaySummary
from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.contracts.relay_plan import RelayClientPlan, RelayPlan
from hybridsplit.scenarios.scores import ACCURACY
from hybridsplit.scenarios.units import counted, format_bytes, format_seconds

MOST_ROWS = 24
WHAT = {
    "round-latency": "round latency",
    "inference-latency": "latency of a batch",
    "inference-period": "period of a stream of batches",
}
"""What an objective minimises, in words."""


def relay_table(title: str, *columns: str, text: int = 1) -> Table:
    """Return an empty table.

    Parameters
    ----------
    title, columns
        Its title, and the names of its columns.
    text
        So many of the first columns hold text, the others numbers.
    """
    table = FittingTable(title)
    for position, name in enumerate(columns):
        table.add_column(name, justify="left" if position < text else "right", overflow="fold")
    return table


def blocks_words(client: RelayClientPlan) -> str:
    """Return in words which blocks of a client run where.

    Parameters
    ----------
    client
        The client.
    """
    return ", ".join(
        f"{'itself' if part.node == client.id else part.node} {part.first_block}"
        + (f"-{part.last_block}" if part.last_block > part.first_block else "")
        for part in client.placement
    )


def placement_table(plan: RelayPlan) -> Table:
    """One row a client: its path, which blocks run where, micro-batches and warm-up depths, and when it ends."""
    title = f"Plan of {escape(plan.scenario['name'])} by {escape(plan.strategy)}"
    table = relay_table(
        title, "client", "path", "blocks on", "micro-batches", "warm-up", "alone", "beside all", text=3
    )  # fmt: skip
    for client in plan.clients[:MOST_ROWS]:
        table.add_row(
            escape(client.id), escape(" > ".join(client.path[1:])), escape(blocks_words(client)),
            str(client.micro_batches), " ".join(str(part.warm_up) for part in client.placement),
            format_seconds(client.alone_s), format_seconds(client.latency_s),
        )  # fmt: skip
    if len(plan.clients) > MOST_ROWS:
        table.add_row(f"and {len(plan.clients) - MOST_ROWS:,} more", *[""] * 6)
    return table


def machines_table(plan: RelayPlan) -> Table:
    """One row a shared machine: clients, memory, and how much of the time it is busy; then one a link direction."""
    title = "Machines and links that clients share"
    table = relay_table(title, "machine or link", "clients", "memory", "busy", "of it")
    limits = {one["node"]: one["memory_bytes"] for one in plan.scenario["network"]["nodes"]}
    for name, seconds in plan.busy_s.items():
        parts = [part for client in plan.clients for part in client.placement if part.node == name]
        memory = ""
        if parts:
            limit = "" if limits.get(name) is None else f" / {format_bytes(limits[name])}"
            memory = f"{format_bytes(sum(part.peak_bytes for part in parts))}{limit}"
        share = f"{min(1.0, seconds / plan.value_s):.0%}"
        table.add_row(escape(name), f"{len(parts):,}" if parts else "", memory, format_seconds(seconds), share)
    return table


def relay_headline(plan: RelayPlan) -> str:
    """Return what a plan achieves, and what is proven of it."""
    bound = format_seconds(plan.lower_bound_s)
    proof = {
        PlanStatus.OPTIMAL: f"Proven: no placement in any order is below {bound}.",
        PlanStatus.BASELINE: "A baseline, verified.",
    }.get(plan.status, f"Verified; no placement in any order is below {bound} (gap {plan.gap:.1%}).")
    return "\n".join([f"{WHAT[plan.objective]} {format_seconds(plan.value_s)}. {proof}", *plan.notes])


def relays_comparison_table(rows: Sequence[ComparedRelays]) -> Table:
    """One row a strategy, and how much longer it takes than ``optimal``."""
    is_trained = any(row.test_score is not None for row in rows)
    judged = next((row.score for row in rows if row.test_score is not None), ACCURACY)
    names = [
        "strategy",
        "cuts",
        "takes",
        "of optimal",
        "none is below",
        *([judged.label, "after"] if is_trained else []),
    ]
    table = relay_table("Strategies on the same problem", *names)
    for row in rows:
        if row.value_s is None:
            table.add_row(row.strategy, "[red]infeasible[/]")
            continue
        figures = (
            ()
            if row.test_score is None or row.simulated_s is None
            else (judged.text(row.test_score), format_seconds(row.simulated_s))
        )
        table.add_row(
            row.strategy, str(row.most_cuts), format_seconds(row.value_s),
            "-" if row.ratio is None else f"{row.ratio:.2f}x",
            "-" if row.lower_bound_s is None else format_seconds(row.lower_bound_s), *figures,
        )  # fmt: skip
    return table


def training_lines(summary: RelaySummary) -> list[str]:
    """Return what training came to, and what happened in it; nothing where nothing was trained.

    Parameters
    ----------
    summary
        Of a run, or of a replay.
    """
    found = summary.training
    if found is None or found.test_score is None:
        return []
    agree = "the same bytes" if found.bytes_agree else "DIFFERENT bytes"
    line = (
        f"Test {found.score.label} {found.score.text(found.test_score)} after {counted(summary.rounds, 'round')}, "
        f"{format_seconds(found.simulated_s)} of simulated time. Plan, replay and run count {agree} on every link."
    )
    return [line, *found.events]


def replay_line(summary: RelaySummary, plan: RelayPlan) -> str:
    """Return what a replay took beside the plan."""
    is_stream = plan.objective == "inference-period"
    number = counted(summary.rounds, "batch" if is_stream else "round").replace("batchs", "batches")
    # A baseline proves no bound.
    proof = f"; none can be below {format_seconds(summary.lower_bound_s)}" if summary.lower_bound_s > 0 else ""
    return (
        f"{number}: {format_seconds(summary.value_s)} each, planned {format_seconds(summary.planned_s)} "
        f"({summary.value_s / summary.planned_s - 1:+.2%}){proof}"
    )


def blocks_table(costs: RelayCosts) -> Table:
    """One row a block: its time on every device, forward and backward, and what crosses behind it."""
    number = min(costs.by_micro_batches)
    part = costs.by_micro_batches[number]
    devices = list(part.forward_s)
    table = relay_table(
        f"Blocks at {counted(number, 'micro-batch').replace('batchs', 'batches')}", "block", *devices,
        "parameters and state", "kept", "crosses after", text=1,
    )  # fmt: skip
    for index, kind in enumerate(costs.kinds):
        table.add_row(
            f"{index + 1} {escape(kind)}",
            *(format_seconds(float(part.forward_s[name][index] + part.backward_s[name][index])) for name in devices),
            format_bytes(float(costs.standing_bytes[index] + costs.trained_bytes[index])),
            format_bytes(float(part.kept_bytes[index])), format_bytes(float(part.sent_bytes[index + 1])),
        )  # fmt: skip
    return table
