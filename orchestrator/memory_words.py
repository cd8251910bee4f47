"""What is said of clients whose memory moves: what they choose from, and what they chose in a replay."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hybridsplit.orchestrator.plan_words import group_of, names
from hybridsplit.runtime.replay import Replay
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.units import counted, format_bytes, format_seconds


def ladder_line(plan: Plan) -> str:
    """Say which clients choose a recompute level in every step, and between what; empty where none does."""
    on_ladders = [client for client in plan.clients if client.levels]
    if not on_ladders:
        return ""
    sizes: dict[str, int] = {}
    for client in plan.clients:
        sizes[group_of(client.id)] = sizes.get(group_of(client.id), 0) + 1
    numbers = sorted({len(client.levels) for client in on_ladders})
    how_many = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    least = min(client.levels[-1].peak_bytes for client in on_ladders)
    most = max(client.levels[0].peak_bytes for client in on_ladders)
    return (
        f"By the memory of each step: {names([client.id for client in on_ladders], sizes)} choose among {how_many} "
        f"recompute levels, {format_bytes(least)} to {format_bytes(most)}."
    )


def levels_line(plan: Plan, replayed: Replay) -> str:
    """Say at which levels steps were replayed, how many fell, and what was waited for memory; empty without ladders.

    Parameters
    ----------
    plan, replayed
        The plan and its replay.
    """
    fastest: Mapping[str, str] = {client.id: client.levels[0].recompute for client in plan.clients if client.levels}
    taken = [(client, step.recompute) for (client, _), steps in replayed.step_memory.items() for step in steps]
    if not taken:
        return ""
    fell = sum(" d" in order for _, order in taken)
    fast = sum(order == fastest[client] for client, order in taken)
    waited_s = math.fsum(
        totals[Phase.MEMORY].waiting_s for rounds in replayed.timeline.totals for totals in rounds if totals
    )
    return (
        f"Memory moved: of {counted(len(taken), 'step')} on ladders {fast / len(taken):.0%} ran at the fastest level, "
        f"{counted(fell, 'step')} fell to a lower one while waiting for the server, and clients waited "
        f"{format_seconds(waited_s)} for memory in all."
    )
