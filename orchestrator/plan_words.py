"""What a plan achieves, how good it provably is, and what holds it back: sentences for terminal and report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hybridsplit.scenarios.contracts.phases import DOWNLINK_PHASES, SERVER_PHASES, UPLINK_PHASES, Phase
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan, PlanStatus
from hybridsplit.scenarios.contracts.prices import Marginal
from hybridsplit.scenarios.contracts.schedule import Dispatch, Simultaneous
from hybridsplit.scenarios.units import (
    format_bytes_short,
    format_flops_per_s,
    format_hertz,
    format_joules,
    format_seconds,
)

SCREENFUL = 12
"""Most lines of a list that is shortened; the rest is counted, and stands in plan.json."""
_MOST_NAMES = 4
_PROVEN = 1e-6


def objective_text(plan: Plan) -> str:
    """Return the value of what the plan minimises."""
    return f"{plan.objective_j:.4g} J" if plan.objective_j is not None else format_seconds(plan.objective_s)


def proof(plan: Plan, origin: str = "") -> str:
    """Say how good a plan provably is, and among which plans.

    Parameters
    ----------
    plan
        The plan.
    origin
        Where its bounds come from, where that is not the solver in this process.
    """
    known = _proof(plan)
    return f"{known} Bounds and gap: {origin}." if origin else known


def _proof(plan: Plan) -> str:
    by_energy = plan.lower_bound_j is not None
    is_static = isinstance(plan.schedule, Simultaneous)
    lower = plan.lower_bound_j if plan.lower_bound_j is not None else plan.lower_bound_s
    if lower <= 0 and plan.status is not PlanStatus.OPTIMAL:
        return _of_status(plan, "no lower bound is known")
    bound = f"{lower:.4g} J" if by_energy else format_seconds(lower)
    # Shares and order do not change the energy; every other bound holds for static shares or for any schedule.
    of_all = "" if by_energy else " for static shares" if is_static else " for any schedule"
    if plan.status is PlanStatus.OPTIMAL:
        text = f"Proven optimal{of_all} (bound {bound}, gap below 1e-6)."
    elif plan.gap <= _PROVEN:
        text = _of_status(plan, f"equal, to 1e-6, to the bound of {bound}{of_all}")
    else:
        text = _of_status(plan, f"at most {_percent(plan.gap)} above the best{of_all} (bound {bound})")
    if is_static and not by_energy and plan.schedule_lower_bound_s > 0:
        text += f" Any schedule: at least {format_seconds(plan.schedule_lower_bound_s)}."
    return text


def energy_j(clients: Iterable[ClientPlan]) -> float | None:
    """Return what some clients use in a round, computing; None where it is known of none of them."""
    known = [client.client_energy_j for client in clients if client.client_energy_j is not None]
    return math.fsum(known) if known else None


def energy_line(plan: Plan) -> str:
    """Say what the clients' energy in a round is, and whose is not known; empty where none is."""
    total_j = energy_j(plan.clients)
    if total_j is None:
        return ""
    unknown = [client.id for client in plan.clients if client.client_energy_j is None]
    of = f"of {len(plan.clients) - len(unknown):,} of {len(plan.clients):,} clients" if unknown else "of all clients"
    why = f"; no power is known of {names(unknown, _group_sizes(plan))}" if unknown else ""
    return f"Energy a round, {of}: {format_joules(total_j)}{why}."


def schedule_line(plan: Plan) -> str:
    """Say how clients use the shared resources, and how busy these are; empty for constant shares."""
    if not plan.serves_one_at_a_time:
        return ""
    busy = ", ".join(
        f"{name} {_busy_s(plan, name, phases) / plan.round_latency_s * 100:.0f} %"
        for name, phases in (
            ("uplink", UPLINK_PHASES),
            ("downlink", DOWNLINK_PHASES),
            ("server", SERVER_PHASES),
        )
    )
    how = "the most urgent first" if isinstance(plan.schedule, Dispatch) else "in turns"
    return f"Served one at a time, {how}; busy: {busy}."


def deadline_line(plan: Plan) -> str:
    """Say when rounds go on without those who are late; empty where they wait for all."""
    if plan.deadline_s is None:
        return ""
    over = plan.deadline_s / plan.round_latency_s
    after = format_seconds(plan.deadline_s)
    return f"Rounds go on after {after} ({over:.3g} planned rounds) without those who are late."


def _busy_s(plan: Plan, resource: str, phases: Sequence[Phase]) -> float:
    """Return the seconds of a round in which a shared resource serves someone."""
    return math.fsum(
        getattr(client, f"{resource}_share") * client.phases_s.get(phase, 0.0)
        for client in plan.clients
        for phase in phases
    )


def _of_status(plan: Plan, known: str) -> str:
    begin = {
        PlanStatus.OPTIMAL: "Optimal",
        PlanStatus.FEASIBLE: "Not proven optimal",
        PlanStatus.TIME_LIMIT: "Stopped at the time limit",
        PlanStatus.BASELINE: "A baseline, which claims no optimum",
    }[plan.status]
    return f"{begin}: {known}."


def _percent(gap: float) -> str:
    return f"{gap * 100:.3g} %"


@dataclass(frozen=True)
class Bottleneck:
    """One row of what holds a plan back.

    Parameters
    ----------
    what
        The resource, and whose.
    more
        How much more of it.
    saves_s
        What that saves of the objective, seconds.
    then
        What a client would do with it; empty for shared resources.
    """

    what: str
    more: str
    saves_s: float
    then: str

    def in_words(self) -> str:
        """Return the row as a line."""
        return f"{self.what} {self.more}: saves {format_seconds(self.saves_s)}" + (
            f" ({self.then})" if self.then else ""
        )


_OF_CLIENTS = {"memory": "memory", "link": "own link"}


def bottlenecks(plan: Plan) -> list[Bottleneck]:
    """Return what would save something, the largest saving first; alike clients share a row."""
    worth = sorted((m for m in plan.marginals if m.saves_s > 0), key=lambda m: -m.saves_s)
    sizes = _group_sizes(plan)
    return [
        Bottleneck(
            f"{names(m.clients, sizes)} {_OF_CLIENTS[m.resource]}" if m.clients else m.resource,
            amount(m) + (" in one of them" if len(m.clients) > 1 and m.resource == "memory" else ""),
            m.saves_s,
            f"then {m.option} fits" if m.option else "",
        )
        for m in worth
    ]


def no_bottlenecks(plan: Plan) -> str:
    """Say which resources more of would save nothing; empty where all would, or nothing was looked into."""
    idle = [f"{m.resource} {amount(m)}" for m in plan.marginals if m.saves_s == 0 and not m.clients]
    if not idle:
        return ""
    if len(idle) == sum(not m.clients for m in plan.marginals):
        return f"more of a shared resource saves nothing: not {' nor '.join(idle)}"
    return f"{', '.join(idle)}: {'each ' if len(idle) > 1 else ''}saves nothing"


def amount(marginal: Marginal) -> str:
    """Return how much more of a resource is meant, for example ``"+412 KiB"`` or ``"+8 MHz (10 %)"``."""
    relative = f"{marginal.amount_fraction * 100:.0f} %"
    if marginal.amount_bytes is not None:
        return f"+{format_bytes_short(marginal.amount_bytes)}"
    if marginal.amount_hz is not None:
        return f"+{format_hertz(marginal.amount_hz)} ({relative})"
    if marginal.amount_flops_per_s is not None:
        return f"+{format_flops_per_s(marginal.amount_flops_per_s)} ({relative})"
    return f"+{relative}"


def group_of(client_id: str) -> str:
    """Return the group of a client: its id without the number behind the last hyphen."""
    head, separator, _ = client_id.rpartition("-")
    return head if separator else client_id


def names(clients: Sequence[str], group_sizes: dict[str, int]) -> str:
    """Name clients by group: ``pi4-0, pi4-1``, ``kiosk-2..5``, ``kiosk x10`` for a whole group; many are counted."""
    members: dict[str, list[str]] = {}
    for client in clients:
        members.setdefault(group_of(client), []).append(client)
    parts: list[str] = []
    for group, own in members.items():
        if len(own) <= 2:
            parts += own
        elif len(own) == group_sizes.get(group):
            parts.append(f"{group} x{len(own)}")
        else:
            parts += _ranges(group, own)
    more = len(parts) - _MOST_NAMES
    return ", ".join(parts[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _ranges(group: str, clients: Sequence[str]) -> list[str]:
    """Shorten consecutive numbers: ``kiosk-2..5``."""
    numbers = [client.rpartition("-")[2] for client in clients]
    if not all(number.isdecimal() for number in numbers):
        return list(clients)
    runs: list[list[int]] = []
    for number in sorted(map(int, numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [f"{group}-{run[0]}" + (f"..{run[-1]}" if len(run) > 1 else "") for run in runs]


def _group_sizes(plan: Plan) -> dict[str, int]:
    return Counter(group_of(client) for client in (*(client.id for client in plan.clients), *plan.dropped))


def reasons(plan: Plan) -> list[tuple[str, str]]:
    """Return what decided each client's option: one pair of names and reason for each reason."""
    of: dict[str, list[str]] = {}
    for client in plan.clients:
        if client.reason:
            of.setdefault(client.reason, []).append(client.id)
    sizes = _group_sizes(plan)
    return [(names(clients, sizes), reason) for reason, clients in of.items()]


def dropped(plan: Plan) -> str:
    """Name the clients that are left out; empty where there are none."""
    return names(plan.dropped, _group_sizes(plan)) if plan.dropped else ""


def capped(lines: Iterable[str], what: str, *, shortens: bool = True) -> list[str]:
    """Return at most a screenful of lines if asked to; the last one counts the rest, and says how to see them."""
    every = list(lines)
    more = len(every) - SCREENFUL
    if more <= 0 or not shortens:
        return every
    return [*every[:SCREENFUL], f"... and {more:,} more {what}: --all prints them, --out writes them"]
