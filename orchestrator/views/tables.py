"""Results as Rich tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from hybridsplit.orchestrator import plan_words as words
from hybridsplit.orchestrator.ledger_sums import LedgerSums
from hybridsplit.orchestrator.memory_words import ladder_line
from hybridsplit.orchestrator.views.fitting import FittingTable
from hybridsplit.orchestrator.views.offers import (
    offers_batch_sizes,
    offers_heads,
    offers_micro_batches,
    offers_overlap,
    offers_seldom_uploads,
)
from hybridsplit.scenarios.contracts.ledger import Source
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.scores import ACCURACY
from hybridsplit.scenarios.units import format_bytes_of, format_joules, format_seconds

if TYPE_CHECKING:
    from hybridsplit.orchestrator.studies.compare import ComparedStrategy, DecompositionStep

_LEAST_DEVICE = 9
"""Letters of a device's id that stay together on a narrow terminal."""
_LEAST_LIST = 18
"""Letters of a line of cuts or modes; a list in shorter lines is not read."""
_MOST_ROWS = 24
"""Longer plans are shown by group of like clients."""


def plan_table(plan: Plan, *, shortens: bool = True) -> Table:
    """One row a client, or a group of clients with the same option where there are many.

    Parameters
    ----------
    plan
        The plan.
    shortens
        Whether a long table is shortened to a screen; it has a row for every client otherwise.
    """
    title = f"Plan of {escape(plan.scenario['name'])} by {escape(plan.strategy)}"
    table = FittingTable(title)
    table.add_column("client", no_wrap=True)
    table.add_column("device", overflow="fold", min_width=_LEAST_DEVICE)
    table.add_column("cut", justify="right", no_wrap=True)
    table.add_column("mode", no_wrap=True)
    chooses_batch = offers_batch_sizes(plan)
    if chooses_batch:
        table.add_column("batch", justify="right", no_wrap=True)
    goes_ahead = offers_overlap(plan)
    if goes_ahead:
        table.add_column("ahead", justify="right", no_wrap=True)
    sends_seldom = offers_seldom_uploads(plan)
    if sends_seldom:
        table.add_column("sends every", justify="right", no_wrap=True)
    has_heads = offers_heads(plan)
    if has_heads:
        table.add_column("head", justify="right", no_wrap=True)
    has_parts = offers_micro_batches(plan)
    if has_parts:
        table.add_column("parts", justify="right", no_wrap=True)
    has_shares = not plan.serves_one_at_a_time
    table.add_column("up/down/srv %" if has_shares else "waits", justify="right", no_wrap=True)
    table.add_column("latency", justify="right", no_wrap=True)
    table.add_column("peak / budget", justify="right", no_wrap=True)
    has_energy = words.energy_j(plan.clients) is not None
    if has_energy:
        table.add_column("energy", justify="right", no_wrap=True)
    rows = _rows(plan.clients) if shortens else [(client.id, client) for client in plan.clients]
    most_rows = _MOST_ROWS if shortens else len(rows)
    for names, client in rows[:most_rows]:
        table.add_row(
            escape(names),
            escape(client.device),
            str(client.cut),
            str(client.mode),
            *([str(client.batch_size)] if chooses_batch else []),
            *([str(client.staleness)] if goes_ahead else []),
            *([str(client.upload_every)] if sends_seldom else []),
            *([str(client.head_blocks)] if has_heads else []),
            *([str(client.micro_batches)] if has_parts else []),
            _shares(client) if has_shares else format_seconds(math.fsum(client.waiting_s.values())),
            format_seconds(client.latency_s),
            format_bytes_of(client.client_peak_bytes, client.memory_budget_bytes),
            *([_energy(client)] if has_energy else []),
        )
    if len(rows) > most_rows:
        table.caption = f"and {len(rows) - most_rows:,} rows more: --all prints every client, --out writes them"
        table.caption_justify = "left"
    return table


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


def _rows(clients: Sequence[ClientPlan]) -> list[tuple[str, ClientPlan]]:
    if len(clients) <= _MOST_ROWS:
        return [(client.id, client) for client in clients]
    placed = attrgetter(*PLACEMENT_COLUMNS)
    groups: dict[tuple[str, tuple[object, ...]], list[ClientPlan]] = {}
    for client in clients:
        groups.setdefault((client.id.rsplit("-", 1)[0], placed(client)), []).append(client)
    return [
        (f"{key[0]} x{len(members)}" if len(members) > 1 else members[0].id, members[0])
        for key, members in groups.items()
    ]


def _energy(client: ClientPlan) -> str:
    return "-" if client.client_energy_j is None else format_joules(client.client_energy_j)


def _shares(client: ClientPlan) -> str:
    if client.has_dedicated_link:
        return f"own link/{_percent(client.server_share)}"
    return "/".join(_percent(share) for share in (client.uplink_share, client.downlink_share, client.server_share))


def _percent(share: float) -> str:
    return f"{share * 100:.0f}" if share >= 0.1 or share == 0 else f"{share * 100:.2g}"


def plan_headline(plan: Plan, origin: str = "", *, shortens: bool = True) -> str:
    """What a plan achieves, how good it provably is, what holds it back, and why each client got its option.

    Parameters
    ----------
    plan
        The plan.
    origin
        Where its bounds come from, where that is not the solver in this process.
    shortens
        Whether long lists are shortened to a screen.
    """
    whole = plan.objective.replace("-", " ")
    lines = [
        (
            f"round latency [bold]{format_seconds(plan.round_latency_s)}[/], expected progress {plan.progress:.3f}: "
            f"{whole} {words.objective_text(plan)}"
        ),
        escape(words.proof(plan, origin)),
        *([line] if (line := words.schedule_line(plan)) else []),
        *([words.deadline_line(plan)] if plan.deadline_s is not None else []),
        *([escape(line)] if (line := ladder_line(plan)) else []),
        *([escape(line)] if (line := words.energy_line(plan)) else []),
        f"Solved in {format_seconds(plan.solve_s)}, compiled in {format_seconds(plan.compile_s)}.",
        *([f"left out, at their price: {escape(words.dropped(plan))}"] if plan.dropped else []),
        *([worth_line(plan)] if offers_batch_sizes(plan) else []),
        *bottleneck_lines(plan, shortens=shortens),
        *reason_lines(plan, shortens=shortens),
        *(escape(note) for note in plan.notes),
    ]
    return "\n".join(lines)


def bottleneck_lines(plan: Plan, *, shortens: bool = True) -> list[str]:
    """What more of each resource would save, the most valuable first; nothing where it was not looked into."""
    rows = words.capped((row.in_words() for row in words.bottlenecks(plan)), "rows", shortens=shortens)
    idle = words.no_bottlenecks(plan)
    lines = [f"  {escape(line)}" for line in [*rows, *([idle] if idle else [])]]
    return [f"[bold]Bottlenecks[/] (savings of the {words.objective_text(plan)})", *lines] if lines else []


def reason_lines(plan: Plan, *, shortens: bool = True) -> list[str]:
    """What decided each client's option: one line a reason, with the clients it holds for."""
    lines = words.capped((f"{who}: {why}" for who, why in words.reasons(plan)), "reasons", shortens=shortens)
    return ["[bold]Reasons[/]", *(f"  {escape(line)}" for line in lines)] if lines else []


def truth_table(sums: LedgerSums) -> Table:
    """Planned, replayed and measured, by phase: mean seconds of a client's round, and all bytes."""
    title = "Planned, replayed, measured (mean seconds of a client's round; bytes of the whole run)"
    table = FittingTable(title)
    for name in ("phase", "planned", "replayed", "waiting", "bytes planned", "bytes replayed", "bytes measured"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for phase in Phase:
        planned, replayed, measured = (
            sums.of.get((source, phase)) for source in (Source.PLANNED, Source.REPLAYED, Source.MEASURED)
        )
        if not (planned or replayed or measured):
            continue
        table.add_row(
            str(phase),
            "-" if planned is None else format_seconds(planned.seconds / planned.entries),
            "-" if replayed is None else format_seconds(replayed.seconds / replayed.entries),
            "-" if replayed is None else format_seconds(replayed.waiting_s / replayed.entries),
            *("-" if found is None else f"{found.bytes:,}" for found in (planned, replayed, measured)),
        )
    return table


def comparison_table(rows: Sequence[ComparedStrategy]) -> Table:
    """One row a strategy, with time to progress relative to ``optimal``."""
    title = "Strategies on the same problem"
    table = FittingTable(title)
    trained = next((row for row in rows if row.test_score is not None), None)
    score = ACCURACY if trained is None else trained.score
    # For any other objective its column stays what it was: seconds are those of the objective.
    of = "time to target" if any(row.objective == "time-to-target" for row in rows) else "time to progress"
    names = ["strategy", "round latency", "progress", of, "vs optimal", "cuts", "modes"]
    chooses_batch = any(row.batch_sizes is not None for row in rows)
    names += ["batch sizes"] if chooses_batch else []
    for name in [*names, *([] if trained is None else [score.label, "frozen control"])]:
        is_text = name in ("strategy", "cuts", "modes", "batch sizes")
        table.add_column(
            name, justify="left" if is_text else "right", no_wrap=name == "strategy",
            min_width=_LEAST_LIST if name in ("cuts", "modes") else None,
        )  # fmt: skip
    for row in rows:
        if row.infeasible is not None:
            table.add_row(row.strategy, "[red]infeasible[/]")
            continue
        scores = () if trained is None else (row.test_score, row.frozen_control_score)
        table.add_row(
            row.strategy,
            "-" if row.round_latency_s is None else format_seconds(row.round_latency_s),
            "-" if row.progress is None else f"{row.progress:.3f}",
            "-" if row.objective_s is None else format_seconds(row.objective_s),
            "-" if row.ratio is None else f"{row.ratio:.2f}x",
            row.cuts,
            row.modes,
            *([row.batch_sizes] if chooses_batch else []),
            *("-" if value is None else score.text(value) for value in scores),
        )
    return table


def infeasible_lines(rows: Sequence[ComparedStrategy]) -> list[str]:
    """Why the strategies that have no plan have none."""
    return [escape(row.infeasible) for row in rows if row.infeasible is not None]


def decomposition_table(steps: Sequence[DecompositionStep]) -> Table:
    """Where the gain over the best uniform cut comes from, at equal modes offered and no less progress."""
    title = "From the best uniform cut to the joint plan (same modes offered, no less progress)"
    table = FittingTable(title)
    for name in ("step", "round latency", "gain", "all together"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for step in steps:
        table.add_row(step.step, format_seconds(step.round_latency_s), f"{step.gain:.2f}x", f"{step.total_gain:.2f}x")
    if not steps:
        table.add_row("no uniform cut is feasible", "-", "-", "-")
    return table


def memory_line(plan: Plan, peak_bytes: Mapping[str, int], predicted_peak_bytes: Sequence[int]) -> str:
    """The client nearest to its budget, by what was measured.

    Parameters
    ----------
    plan, peak_bytes
        The plan, and measured peaks by client.
    predicted_peak_bytes
        Of every client of the plan: where the plan changed between rounds, the largest.
    """
    clients = zip(plan.clients, predicted_peak_bytes, strict=True)
    measured = [(peak_bytes[c.id] / c.memory_budget_bytes, c, peak) for c, peak in clients if c.id in peak_bytes]
    share, tightest, predicted_bytes = max(measured, key=lambda one: one[0])
    return (
        f"measured memory: every client within its budget; tightest {escape(tightest.id)} with "
        f"{format_bytes_of(peak_bytes[tightest.id], tightest.memory_budget_bytes)} ({share:.1%}; "
        f"predicted {predicted_bytes / tightest.memory_budget_bytes:.1%})"
    )


def pareto_table(document: Mapping[str, Any]) -> Table:
    """One row a point of a front."""
    seconds = str(document["y"])
    words = seconds.removesuffix("_s").replace("_", " ")
    title = f"{words.capitalize()} against {document['x']}: {document['scenario']}"
    table = FittingTable(escape(title))
    heads = {"memory": "fullest client", "energy": "energy a round", "progress": "progress"}
    for name in (heads[str(document["x"])], words, "lower bound", "gap"):
        table.add_column(name, justify="right")
    for point in document["points"]:
        x = float(point["x"])
        shown = {"memory": f"{x:.1%} of its budget", "energy": f"{x:.4g} J", "progress": f"{x:.4f}"}
        table.add_row(
            shown[str(document["x"])],
            format_seconds(point[seconds]),
            format_seconds(point["lower_bound_s"]),
            f"{point['gap']:.1e}",
        )
    return table
