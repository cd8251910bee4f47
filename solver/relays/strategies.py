"""Ways to place models over relays by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.errors import InfeasibleError, UsageError
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.chain.values import node_spans
from hybridsplit.solver.relays.columns import Column, column_of
from hybridsplit.solver.relays.planner import FEW_CLIENTS, Planned, best_placements
from hybridsplit.solver.relays.routes import Route, routes_of
from hybridsplit.solver.relays.task import Task, fits_memory, with_depths

OPTIMAL = "optimal"
Place = Callable[[RelayScenario, RelayCosts, float | None], Planned]


def _optimal(scenario: RelayScenario, costs: RelayCosts, time_limit_s: float | None) -> Planned:
    planned = best_placements(scenario, costs, time_limit_s=time_limit_s)
    is_near = planned.value_s <= planned.lower_bound_s * (1 + scenario.search.gap)
    if is_near or scenario.num_clients > FEW_CLIENTS or scenario.training.cuts.most < 2:
        return planned
    try:
        single = _single_cut(scenario, costs, (time_limit_s or scenario.search.time_limit_s) / 4)
    except InfeasibleError:
        return planned
    # A plan of one cut is one of several, and the search of those may have missed it.
    if single.value_s < planned.value_s:
        return replace(planned, placed=single.placed, value_s=single.value_s, turns=single.turns)
    return planned


def _single_cut(scenario: RelayScenario, costs: RelayCosts, time_limit_s: float | None) -> Planned:
    most = min(1, scenario.training.cuts.most)
    return best_placements(scenario, costs, most, time_limit_s=time_limit_s)


def _whole(scenario: RelayScenario, costs: RelayCosts, time_limit_s: float | None) -> Planned:
    return best_placements(scenario, costs, 0, time_limit_s=time_limit_s)


def _even(scenario: RelayScenario, costs: RelayCosts, time_limit_s: float | None) -> Planned:
    """Every machine of the first path that may run blocks gets as many blocks as the others, as far as cuts allow."""
    del time_limit_s
    routes = routes_of(scenario, costs)
    task = Task(scenario, costs, routes, float("inf"))
    number = max(scenario.training.micro_batches)
    first = {}
    for route in routes:
        if route.micro_batches == number and route.group not in first:
            column = _even_column(route)
            if column is not None:
                first[route.group] = column
    if missing := [one.group for one in scenario.clients if one.group not in first]:
        raise InfeasibleError(f"client group {missing[0]}: an even split is not within memory; use strategy optimal")
    columns = [first[group] for group in task.groups]
    if not fits_memory(task, columns):
        raise InfeasibleError("network.nodes: an even split of all clients is not within memory; use strategy optimal")
    placed = with_depths(task, columns)
    return Planned(placed, task.value_s(placed), 0.0, len(first))


def _even_column(route: Route) -> Column | None:
    chain = route.chain
    runs = [k for k in range(chain.num_nodes) if np.isfinite(chain.node_s[k]).sum() > chain.num_blocks + 1]
    runs = [runs[0], *runs[1:][len(runs) - chain.most_parts :]] if len(runs) > chain.most_parts > 0 else runs
    ends = np.linspace(0, chain.num_blocks, len(runs) + 1).round().astype(int)
    cuts, done = [], 0
    for k in range(chain.num_nodes - 1):
        done += k in runs
        cuts.append(int(ends[done]))
    spans = node_spans(tuple(cuts), chain.num_blocks)
    if any(not np.isfinite(chain.node_s[k, a, c]) for k, (a, c) in enumerate(spans)):
        return None
    return column_of(route, tuple(cuts))


RELAY_STRATEGIES: Mapping[str, Place] = {
    OPTIMAL: _optimal,
    "single-cut": _single_cut,
    "even-split": _even,
    "client-only": _whole,
}
"""Ways to place by name; all but ``optimal`` are baselines."""


def find_relay_strategy(name: str) -> Place:
    """Return a way to place.

    Parameters
    ----------
    name
        Its name.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in RELAY_STRATEGIES:
        near = difflib.get_close_matches(name, RELAY_STRATEGIES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UsageError(
            f"--strategy: found {name!r}; needs one for models that are cut several times: "
            f"{', '.join(RELAY_STRATEGIES)}{hint}"
        )
    return RELAY_STRATEGIES[name]
