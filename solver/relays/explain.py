"""Why a plan has as many cuts as it has, and which machine or link it waits for."""

from __future__ import annotations

from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.units import counted, format_seconds
from hybridsplit.solver.relays.planner import Planned, best_placements
from hybridsplit.solver.relays.task import PERIOD

_SHOWN_TIME_S, _SHOWN_SHARE = 5.0, 0.1
_EXACT = 1e-6
_WHAT = {"round-latency": "a round", "inference-latency": "a batch", PERIOD: "the period"}


def notes_of(scenario: RelayScenario, costs: RelayCosts, planned: Planned) -> tuple[str, ...]:
    """Return sentences about a plan.

    Parameters
    ----------
    scenario, costs
        The scenario, and what blocks cost.
    planned
        The placements of the plan.
    """
    return (_cuts_note(scenario, costs, planned), *_binding_note(planned))


def _cuts_note(scenario: RelayScenario, costs: RelayCosts, planned: Planned) -> str:
    what = _WHAT[scenario.objective.minimise]
    used = max(sum(a < c for a, c in column.spans) - 1 for column, _ in planned.placed)
    here = f"{counted(used, 'cut')}: {what} takes {format_seconds(planned.value_s)}"
    allowed = scenario.training.cuts.most
    if used > 1:
        return f"{here}{_beside_one_cut(scenario, costs, planned)}"
    if allowed <= used:
        return f"{here}; more are not allowed (training.cuts.most: {allowed})"
    if all(node.device is None for node in scenario.network.nodes):
        return f"{here}; no node of the network runs blocks"
    gap = planned.value_s / planned.lower_bound_s - 1 if planned.lower_bound_s else 0.0
    none = "none makes it shorter" if gap <= _EXACT else f"none that makes it shorter was found (gap {gap:.1%})"
    return (
        f"{here}; up to {allowed} are allowed, and {none}: a further cut sends what crosses it once more, which "
        "pays only where it takes enough off the machine that is busy for longest"
    )


def _beside_one_cut(scenario: RelayScenario, costs: RelayCosts, planned: Planned) -> str:
    try:
        limit_s = min(_SHOWN_TIME_S, _SHOWN_SHARE * scenario.search.time_limit_s)
        single = best_placements(scenario, costs, 1, time_limit_s=limit_s)
    except InfeasibleError:
        return "; with a single cut nothing fits into memory"
    ratio, proven = single.value_s / planned.value_s, single.lower_bound_s / planned.value_s
    claim = f", and at least {proven:.2f}x as fast as any" if proven > 1 else ""
    return f", {ratio:.2f}x as fast as the best single cut found ({format_seconds(single.value_s)}){claim}"


def _binding_note(planned: Planned) -> tuple[str, ...]:
    busy: dict[str, float] = {}
    for index, (column, _) in enumerate(planned.placed):
        for name, seconds in column.busy_s.items():
            busy[name] = busy.get(name, 0.0) + seconds
        busy[f"what {column.route.group} has of its own ({index})"] = column.own_s
    name, seconds = max(busy.items(), key=lambda item: item[1])
    shown = name.split(" (")[0]
    share = seconds / planned.value_s
    return (f"{shown} is busy for longest: {format_seconds(seconds)}, {share:.0%} of it",)
