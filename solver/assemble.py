"""Put a plan together from what was decided: options, shares, schedule, bounds and reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from hybridsplit.scenarios.contracts.alike import alike
from hybridsplit.scenarios.contracts.client_plan import for_alike_clients
from hybridsplit.scenarios.contracts.ladder import parse_ladder
from hybridsplit.scenarios.contracts.options import TARGET_COLUMNS
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS
from hybridsplit.scenarios.contracts.plan import ClientPlan, Plan, PlanStatus
from hybridsplit.scenarios.contracts.prices import Marginal, Prices
from hybridsplit.scenarios.contracts.schedule import Schedule, Simultaneous
from hybridsplit.scenarios.contracts.three_part import HeadCosts
from hybridsplit.scenarios.contracts.updates import UpdateCosts
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.units import format_seconds
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.build import propagation_s
from hybridsplit.solver.problem.depths import depth_of_plan
from hybridsplit.solver.problem.links import dedicated_s
from hybridsplit.solver.problem.planning_problem import ENERGY, TIME_TO_TARGET, PlanningProblem
from hybridsplit.solver.search.joint import SearchResult
from hybridsplit.solver.shares.solution import ShareSolution
from hybridsplit.solver.shares.timing import Timing

LATE_AFTER_ROUNDS = 2.0
"""A deadline that nothing is known about, in planned rounds."""
OPTIMAL_GAP = 1e-6
"""Relative gap up to which a plan is called optimal."""


@dataclass(frozen=True)
class Decision:
    """Everything a plan consists of.

    Parameters
    ----------
    rows
        [N] row of the problem for every client.
    solution
        Shares of every client.
    schedule
        How clients use the resources.
    bounds
        Bounds of the problem.
    strategy
        Name of the strategy.
    claims_optimality
        Whether it may be called optimal.
    timing
        When clients end, and what they wait for.
    reasons
        [N] why every client got its option.
    notes
        Remarks worth showing with the plan.
    marginals
        What a little more of every resource saves.
    solve_s
        Seconds of solving.
    """

    rows: IntArray
    solution: ShareSolution
    schedule: Schedule
    bounds: SearchResult
    strategy: str
    claims_optimality: bool
    timing: Timing
    reasons: Sequence[str]
    notes: tuple[str, ...]
    marginals: tuple[Marginal, ...]
    solve_s: float


def assemble(problem: PlanningProblem, decision: Decision) -> Plan:
    """Build the plan of a decision.

    Parameters
    ----------
    problem
        The planning problem.
    decision
        What was decided.
    """
    rows, bounds, timing = decision.rows, decision.bounds, decision.timing
    kept = np.flatnonzero(~problem.is_dropped[rows])
    latency_s = float(timing.latency_s[kept].max())
    progress, gain = math.fsum(problem.weighted_progress[rows]), math.fsum(problem.gain[rows])
    penalty_s = float(problem.penalty_s[rows].sum())
    by_energy, for_target = problem.objective == ENERGY, problem.objective == TIME_TO_TARGET
    objective_s = problem.objective_s(latency_s, gain, penalty_s)
    static = isinstance(decision.schedule, Simultaneous)
    # A bound is proven to within rounding of the objective; it never claims more than the plan itself shows.
    lower_s = min(bounds.lower_bound_s if static else bounds.schedule_lower_bound_s, objective_s)
    energy_j = float(problem.energy_j[rows].sum()) if by_energy else None
    lower_j = min(bounds.lower_bound_j or 0.0, energy_j) if energy_j is not None else None
    value, lower = (objective_s, lower_s) if energy_j is None or lower_j is None else (energy_j, lower_j)
    gap = max(0.0, value / lower - 1.0) if lower > 0 else 0.0
    prices = Prices(
        **dict(zip(("uplink_s", "downlink_s", "server_s"), decision.solution.prices_s.tolist(), strict=True))
    )
    return Plan(
        scenario=problem.scenario.resolved(),
        scenario_hash=problem.scenario.content_hash(),
        strategy=decision.strategy,
        status=_status(decision, gap, lower > 0 or value == 0),
        objective=problem.objective,
        objective_s=objective_s,
        objective_j=energy_j,
        round_latency_s=latency_s,
        progress=progress,
        gain=gain if for_target else None,
        untrained_blocks=depth_of_plan(problem, rows) if for_target else None,
        lower_bound_s=lower_s,
        lower_bound_j=lower_j,
        gap=gap,
        schedule_lower_bound_s=min(bounds.schedule_lower_bound_s, lower_s),
        schedule=decision.schedule,
        deadline_s=_deadline_s(problem, latency_s),
        dropped=tuple(problem.clients[i].id for i in np.flatnonzero(problem.is_dropped[rows])),
        drop_price_s=penalty_s,
        compile_s=decision.solution.compile_s,
        solve_s=max(0.0, decision.solve_s),
        prices=prices,
        marginals=decision.marginals,
        notes=decision.notes,
        clients=tuple(_client_plans(problem, rows, decision.solution.shares, timing, decision.reasons, kept)),
    )


def _deadline_s(problem: PlanningProblem, latency_s: float) -> float | None:
    """Return when rounds go on without those who are late; None where they wait for all.

    Raises
    ------
    InfeasibleError
        If the deadline that the scenario states is before the planned end of the round.
    """
    objective = problem.scenario.objective
    if objective.late == "wait":
        return None
    if objective.deadline_s is None:
        return LATE_AFTER_ROUNDS * latency_s
    if objective.deadline_s < latency_s:
        raise InfeasibleError(
            f"objective.deadline_s is {format_seconds(objective.deadline_s)} and the planned round takes "
            f"{format_seconds(latency_s)}: some client would be late in every round; raise the deadline, or give "
            "clients that hold the round up a drop_price_s"
        )
    return objective.deadline_s


def _status(decision: Decision, gap: float, is_bounded: bool) -> PlanStatus:
    if not decision.claims_optimality:
        return PlanStatus.BASELINE
    if gap <= OPTIMAL_GAP and is_bounded:
        return PlanStatus.OPTIMAL
    return PlanStatus.TIME_LIMIT if decision.bounds.stopped else PlanStatus.FEASIBLE


def _client_plans(
    problem: PlanningProblem,
    rows: IntArray,
    shares: FloatArray,
    timing: Timing,
    reasons: Sequence[str],
    kept: IntArray,
) -> list[ClientPlan]:
    """Build the plans of the clients that are kept: one for each kind of equal ones, which all but their ids share."""
    work = problem.done.take(rows)
    own = np.array([client.link.is_dedicated for client in problem.clients])
    own_up_s, own_down_s = dedicated_s(
        problem.clients, problem.client_index[rows], problem.uplink_bits[rows], problem.downlink_bits[rows]
    )
    # A link of the client's own is no part of what is shared.
    shares = np.where(own[:, None] & np.array([True, True, False]), 0.0, shares)
    up_s = np.where(own, own_up_s, work.uplink.seconds(shares[:, 0]))
    down_s = np.where(own, own_down_s, _shared_s(work.downlink_s, shares[:, 1]))
    table = problem.options.frame(rows)
    if problem.objective == TIME_TO_TARGET:
        table = table.assign(gain=problem.gain[rows])
    else:
        table = table.drop(columns=[name for name in TARGET_COLUMNS if name in table])
    ahead = problem.overlaps[rows]
    on_the_way_s = propagation_s(table, problem.client_index[rows], problem.clients, problem.scenario)
    alone_s = work.latency_s(np.where(own[:, None] & np.array([True, True, False]), 1.0, shares))
    overlapped_s = np.where(ahead, np.maximum(alone_s - timing.latency_s, 0.0), -1.0)
    number = {reason: i for i, reason in enumerate(dict.fromkeys(reasons))}
    figures = (
        *shares.T,
        on_the_way_s,
        up_s,
        down_s,
        work.server_s,
        timing.latency_s,
        overlapped_s,
        *timing.waiting_s.values(),
    )
    words = np.array([number[reason] for reason in reasons])
    first, kind = alike(column[kept] for column in (*figures, words, *_coded(table)))
    chosen = table.iloc[kept[first]].to_dict("records")
    plans = [
        _client_plan(
            row,
            tuple(float(min(share, 1.0)) for share in shares[i]),
            (float(up_s[i]), float(down_s[i]), float(work.server_s[i])),
            {Phase.PROPAGATION: float(on_the_way_s[i])} if on_the_way_s[i] > 0 else {},
            {Phase.OVERLAPPED: float(overlapped_s[i])} if ahead[i] else {},
            float(timing.latency_s[i]),
            {phase: float(waits[i]) for phase, waits in timing.waiting_s.items()},
            reasons[i],
        )
        for row, i in zip(chosen, kept[first].tolist(), strict=True)
    ]
    ids = table["client"].iloc[kept].tolist()
    return for_alike_clients(plans, kind.tolist(), ids)


def _shared_s(whole_s: FloatArray, share: FloatArray) -> FloatArray:
    """Return [N] seconds at a share, from [N] those at the whole of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole_s > 0, whole_s / np.minimum(share, 1.0), 0.0)


def _coded(table: pd.DataFrame) -> list[FloatArray | IntArray]:
    """Return the columns of rows but their client's id, text as numbers."""
    columns = [table[name] for name in table.columns if name != "client"]
    return [c.to_numpy() if is_numeric_dtype(c) else c.factorize()[0].astype(np.int64) for c in columns]


def _client_plan(
    row: dict[Any, Any],
    shares: tuple[float, ...],
    work_s: tuple[float, float, float],
    on_the_way_s: dict[Phase, float],
    overlapped_s: dict[Phase, float],
    latency_s: float,
    waiting_s: dict[Phase, float],
    reason: str,
) -> ClientPlan:
    up_s, down_s, full_server_s = work_s
    uplink_share, downlink_share, server_share = shares
    server_s = full_server_s / server_share if full_server_s > 0 else 0.0
    up_model = row["model_upload_bytes"] / row["uplink_bytes"] if row["uplink_bytes"] else 0.0
    down_model = row["model_download_bytes"] / row["downlink_bytes"] if row["downlink_bytes"] else 0.0
    energy_j, head = float(row["client_energy_j"]), HeadCosts.of_row(row)
    head_up = head.head_gradient_bytes / row["uplink_bytes"] if head.head_gradient_bytes else 0.0
    head_down = head.head_features_bytes / row["downlink_bytes"] if head.head_features_bytes else 0.0
    server_after_s = head.server_backward_s / server_share if head.server_backward_s else 0.0
    of_head = {
        Phase.HEAD_DOWNLINK: down_s * head_down,
        Phase.HEAD_COMPUTE: head.head_compute_s,
        Phase.HEAD_UPLINK: up_s * head_up,
        Phase.SERVER_BACKWARD: server_after_s,
    }
    return ClientPlan(
        id=row["client"],
        device=row["device"],
        **{name: row[name] for name in PLACEMENT_COLUMNS},
        uplink_share=uplink_share,
        downlink_share=downlink_share,
        server_share=server_share,
        latency_s=latency_s,
        phases_s={
            Phase.MODEL_DOWNLOAD: down_s * down_model,
            Phase.CLIENT_COMPUTE: float(row["client_compute_s"]) - head.head_compute_s,
            Phase.UPLINK: up_s * (1.0 - up_model - head_up),
            Phase.SERVER_COMPUTE: server_s - server_after_s,
            **(of_head if row["head_blocks"] else {}),
            Phase.DOWNLINK: down_s * (1.0 - down_model - head_down),
            Phase.MODEL_UPLOAD: up_s * up_model,
            **on_the_way_s,
            **overlapped_s,
        },
        waiting_s=waiting_s,
        client_compute_s=row["client_compute_s"],
        server_compute_s=row["server_compute_s"],
        uplink_bytes=row["uplink_bytes"],
        downlink_bytes=row["downlink_bytes"],
        model_upload_bytes=row["model_upload_bytes"],
        model_download_bytes=row["model_download_bytes"],
        **head._asdict(),
        **UpdateCosts.of_row(row)._asdict(),
        client_peak_bytes=row["client_peak_bytes"],
        memory_budget_bytes=row["memory_budget_bytes"],
        server_state_bytes=row["server_state_bytes"],
        client_energy_j=energy_j if math.isfinite(energy_j) else None,
        progress=row["progress"],
        gain=row.get("gain"),
        levels=parse_ladder(row["levels"]) if row.get("levels") else (),
        data_weight=row["data_weight"],
        confidence=row["confidence"],
        reason=reason,
    )
