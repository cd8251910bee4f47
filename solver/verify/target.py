"""Check what a plan for a target says of its gains, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan
from hybridsplit.scenarios.modes import MODES, Gradient
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.verify.phases import close_to

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.options import OptionTable

_ROUNDING = 1e-9


def is_exact(client: ClientPlan) -> bool:
    """Say whether a client trains all its blocks exactly: an untrained part of progress 1 has nothing to train.

    Parameters
    ----------
    client
        Its plan.
    """
    mode = MODES.get(client.mode)
    gradient = None if mode is None else mode.gradient
    return gradient is Gradient.EXACT or (gradient is Gradient.NONE and client.progress >= 1)


def target_violations(plan: Plan, scenario: Scenario, table: OptionTable | None) -> Iterator[str]:
    """Yield what is wrong with the gains of a plan.

    Parameters
    ----------
    plan, scenario
        The plan and its scenario.
    table
        The option table; without it the gains of clients are taken as the plan states them.
    """
    pilot = scenario.objective.pilot
    if scenario.objective.minimise != "time-to-target" or pilot is None:
        if plan.gain is not None or any(client.gain is not None for client in plan.clients):
            yield "it states gains, and the scenario has no target to be planned for"
        return
    gains = [client.gain for client in plan.clients]
    stated = [gain for gain in gains if gain is not None]
    if plan.gain is None or len(stated) < len(gains):
        yield "it lacks gains, and the scenario has a target"
        return
    if abs(plan.gain - math.fsum(stated)) > _ROUNDING * (1 + math.fsum(map(abs, stated))):
        yield f"gain is {plan.gain:.9g}, its clients add {math.fsum(stated):.9g}"
    depth = min(0 if is_exact(client) else client.cut for client in plan.clients)
    if plan.untrained_blocks != depth:
        yield f"untrained_blocks is {plan.untrained_blocks}, its clients leave {depth} to nobody"
    if table is None:
        return
    if "gain" not in table.table:
        yield "the option table has no gains, and the scenario has a target"
        return
    lost = pilot.delay_of_untrained(depth)
    worth = _worth(plan, table)
    adds: dict[str, float] = {}
    delays: dict[str, float] = {}
    for client in plan.clients:
        gain, delay, of_estimate, of_noise = worth.get(client.id, (math.nan,) * 4)
        adds[client.id] = gain
        untrained = lost * client.data_weight + of_estimate + of_noise * pilot.untrained_share(depth)
        delays[client.id] = delay + (untrained if depth else 0.0)
    whole = math.fsum(adds.values())
    level = math.fsum(delays.values()) / whole if whole else 0.0
    if not close_to(plan.gain, whole / (1 + level)):
        yield f"gain is {plan.gain:.9g}, the option table gives {whole / (1 + level):.9g}"
    for client in plan.clients:
        # What the client adds to the tangent at the plan.
        expected = (adds[client.id] * (1 + 2 * level) - delays[client.id]) / (1 + level) ** 2
        if not close_to(client.gain or 0.0, expected):
            yield f"{client.id}: gain is {client.gain}, the option table gives {expected:.9g}"


def _worth(plan: Plan, table: OptionTable) -> dict[str, tuple[float, ...]]:
    """Gain, delay, and delays by estimates and by noise, of the rows that a plan takes, by client."""
    chosen = {(client.id, *client.key) for client in plan.clients}
    names = ("client", *PLACEMENT_COLUMNS)
    keys = zip(*(table.table[name].tolist() for name in names), strict=True)
    from hybridsplit.scenarios.contracts.options import TARGET_COLUMNS  # late: a replay has no table, and no pandas

    figures = zip(*(table.table[name].tolist() for name in TARGET_COLUMNS), strict=True)
    return {str(key[0]): figure for key, figure in zip(keys, figures, strict=True) if key in chosen}
