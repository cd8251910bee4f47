"""The plan's document from placements, verified, with what explains it."""

from __future__ import annotations

import time
from itertools import pairwise

from hybridsplit.scenarios.contracts.plan import PlanStatus
from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.contracts.relay_plan import Hop, PlacedBlocks, RelayClientPlan, RelayPlan
from hybridsplit.scenarios.errors import SolverFailure
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.columns import Column, burst_seconds
from hybridsplit.solver.relays.explain import notes_of
from hybridsplit.solver.relays.planner import Planned
from hybridsplit.solver.relays.strategies import OPTIMAL, find_relay_strategy
from hybridsplit.solver.relays.task import PERIOD
from hybridsplit.solver.relays.walk import walk
from hybridsplit.solver.verify.relay_plan import relay_violations

_EXACT = 1e-6


def make_relay_plan(
    scenario: RelayScenario, costs: RelayCosts, strategy: str = OPTIMAL, *, time_limit_s: float | None = None
) -> RelayPlan:
    """Plan a model over relays.

    Parameters
    ----------
    scenario, costs
        The scenario, and what its blocks cost.
    strategy
        A name in :data:`hybridsplit.solver.relays.strategies.RELAY_STRATEGIES`.
    time_limit_s
        Seconds after which the best verified plan is taken; the scenario's when None.

    Raises
    ------
    UsageError, InfeasibleError, SolverFailure
        If there is no such strategy, no placement keeps the limits, or the plan does not pass verification.
    """
    place = find_relay_strategy(strategy)
    begun = time.monotonic()
    limit_s = scenario.search.time_limit_s if time_limit_s is None else time_limit_s
    planned = place(scenario, costs, time_limit_s)
    spent_s = time.monotonic() - begun
    notes = notes_of(scenario, costs, planned) if strategy == OPTIMAL else ()
    gap = planned.value_s / planned.lower_bound_s - 1 if planned.lower_bound_s > 0 else 0.0
    if strategy != OPTIMAL:
        status = PlanStatus.BASELINE
    elif gap <= _EXACT:
        status = PlanStatus.OPTIMAL
    else:
        status = PlanStatus.TIME_LIMIT if spent_s >= limit_s else PlanStatus.FEASIBLE
    plan = RelayPlan(
        scenario=scenario.resolved(),
        scenario_hash=scenario.content_hash(),
        strategy=strategy,
        status=status,
        objective=scenario.objective.minimise,
        value_s=planned.value_s,
        lower_bound_s=planned.lower_bound_s,
        gap=gap,
        num_blocks=costs.num_blocks,
        num_columns=planned.num_columns,
        solve_s=time.monotonic() - begun,
        notes=notes,
        busy_s=_busy(planned),
        clients=_clients(scenario, costs, planned),
    )
    if violations := list(relay_violations(plan, scenario, costs)):
        raise SolverFailure(f"the plan does not pass verification, a fault of ours: {'; '.join(violations[:3])}")
    return plan


def _busy(planned: Planned) -> dict[str, float]:
    busy: dict[str, float] = {}
    for column, _ in planned.placed:
        for name, seconds in column.busy_s.items():
            busy[name] = busy.get(name, 0.0) + seconds
    return dict(sorted(busy.items()))


def _clients(scenario: RelayScenario, costs: RelayCosts, planned: Planned) -> tuple[RelayClientPlan, ...]:
    trains = scenario.trains
    ends = walk(planned.placed, planned.turns, trains=trains)
    turns = planned.turns or (0,) * len(planned.placed)
    alone: dict[tuple[object, ...], float] = {}
    found = []
    clients = zip(scenario.expanded_clients(), planned.placed, ends, turns, strict=True)
    for client, (column, depths), end_s, turn in clients:
        key = (column.key, depths)
        if key not in alone:
            alone[key] = walk([(column, depths)], trains=trains)[0] if trains else burst_seconds(column)
        path = (client.id, *column.route.nodes)
        found.append(
            RelayClientPlan(
                id=client.id,
                group=client.group,
                path=path,
                micro_batches=column.route.micro_batches,
                turn=turn,
                placement=_placement(scenario, column, depths, client.id),
                hops=_hops(costs, column, path),
                alone_s=alone[key],
                latency_s=planned.value_s if scenario.objective.minimise == PERIOD else end_s,
            )
        )
    return tuple(found)


def _placement(
    scenario: RelayScenario, column: Column, depths: tuple[int, ...], client: str
) -> tuple[PlacedBlocks, ...]:
    route = column.route
    devices = {node.node: node.device for node in scenario.network.nodes}
    own = next(group.device for group in scenario.clients if group.group == route.group)
    used = [k for k, (a, c) in enumerate(column.spans) if k == 0 or a < c]
    placement = []
    for k, depth in zip(used, depths, strict=True):
        a, c = column.spans[k]
        if a == c:
            continue
        forward_s, both_s = float(route.forward_s[k, a, c]), float(route.chain.node_s[k, a, c])
        placement.append(
            PlacedBlocks(
                node=route.nodes[k - 1] if k else client,
                device=(devices[route.nodes[k - 1]] if k else own) or "",
                first_block=a + 1,
                last_block=c,
                warm_up=depth,
                forward_s=forward_s,
                backward_s=max(0.0, both_s - forward_s),
                update_s=float(route.update_s[k, a, c]),
                replicas=route.replicas[k],
                reduce_s=float(route.reduce_s[k, a, c]),
                reduced_bytes=int(route.reduced_bytes[k, a, c]),
                peak_bytes=int(
                    route.memory_bytes[k, a, c] + (depth - route.least_in_flight[k]) * route.held_bytes[k, a, c]
                ),
                held_bytes=int(route.held_bytes[k, a, c]),
            )
        )
    return tuple(placement)


def _hops(costs: RelayCosts, column: Column, path: tuple[str, ...]) -> tuple[Hop, ...]:
    part = costs.by_micro_batches[column.route.micro_batches]
    return tuple(
        Hop(
            source=source,
            target=target,
            sent_bytes=int(part.sent_bytes[cut]),
            returned_bytes=int(part.returned_bytes[cut]),
            exchanged_bytes=int(costs.exchanged_bytes[:cut].sum()),
        )
        for (source, target), cut in zip(pairwise(path), column.cuts, strict=True)
    )
