"""Make plans: from a scenario and its option table to a verified plan with bounds, prices and reasons."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from scenarios.contracts.options import OptionTable
from scenarios.contracts.phases import Phase
from scenarios.contracts.plan import ClientPlan, Plan, PlanStatus, Prices
from scenarios.errors import UsageError
from scenarios.schema import Scenario
from solver.arrays import IntArray
from solver.explain import notes, reasons
from solver.problem import PlanningProblem
from solver.search import SearchResult, search
from solver.shares import ShareSolution, equal_shares, optimal_shares
from solver.strategies import find_strategy
from solver.verify import verify_plan

OPTIMAL_GAP = 1e-6
"""Relative gap up to which a plan is called optimal."""


def make_plan(
    scenario: Scenario,
    table: OptionTable,
    strategy: str = "optimal",
    *,
    fixed: Mapping[str, tuple[int, str]] | None = None,
    bounds: SearchResult | None = None,
) -> Plan:
    """Make a verified plan.

    Parameters
    ----------
    scenario
        The scenario.
    table
        Its option table.
    strategy
        Name of a strategy, see :data:`solver.strategies.STRATEGIES`.
    fixed
        Client id to (cut, mode): options that are decided already.
    bounds
        Bounds of the same problem from :func:`compute_bounds`, to be shared by several plans.

    Returns
    -------
    Plan
        Checked by :func:`solver.verify.verify_plan`. Its gap is to the bound of the whole problem, for baselines too.

    Raises
    ------
    UsageError
        If there is no such strategy, or ``fixed`` names a client or option that does not exist.
    ContractError
        If table and scenario disagree.
    InfeasibleError
        If no plan keeps the hard limits, or the strategy's restrictions leave none.
    SolverFailure
        If a solver stopped, or its plan does not pass verification.
    """
    chosen = find_strategy(strategy)
    began = time.perf_counter()
    problem = build_problem(scenario, table, fixed)
    assignment = chosen.assign(problem)
    solution = (
        equal_shares(problem, assignment.rows) if assignment.equal_shares else optimal_shares(problem, assignment.rows)
    )
    known = bounds or assignment.bounds or search(problem, incumbent_rows=assignment.rows)
    if assignment.reason is None:
        why = reasons(problem, assignment.rows, solution.round_latency_s)
    else:
        why = [assignment.reason] * problem.num_clients
    solve_s = time.perf_counter() - began - solution.compile_s
    plan = _plan(problem, assignment.rows, solution, known, strategy, chosen.claims_optimality, why, solve_s)
    verify_plan(plan, scenario, table)
    return plan


def build_problem(
    scenario: Scenario, table: OptionTable, fixed: Mapping[str, tuple[int, str]] | None = None
) -> PlanningProblem:
    """Build the planning problem, with some clients' options fixed.

    Raises
    ------
    UsageError
        If ``fixed`` names a client or option that does not exist or does not fit.
    ContractError, InfeasibleError
        As :meth:`PlanningProblem.build` does.
    """
    problem = PlanningProblem.build(table, scenario)
    if not fixed:
        return problem
    ids = [client.id for client in problem.clients]
    mask = np.ones(problem.num_rows, dtype=bool)
    for client_id, (cut, mode) in fixed.items():
        if client_id not in ids:
            raise UsageError(f"fixed: no client {client_id!r}; needs one of {', '.join(ids[:10])}")
        own = problem.client_index == ids.index(client_id)
        match = own & (problem.cuts == cut) & (problem.table["mode"] == str(mode)).to_numpy()
        if not match.any():
            choices = [f"{c} {m}" for c, m in zip(problem.cuts[own], problem.table["mode"][own], strict=True)]
            raise UsageError(
                f"fixed: client {client_id} has no usable option cut {cut} {mode}; needs one of {', '.join(choices)}"
            )
        mask &= ~own | match
    return problem.restricted(mask)


def compute_bounds(
    scenario: Scenario, table: OptionTable, fixed: Mapping[str, tuple[int, str]] | None = None
) -> SearchResult:
    """Compute the bounds once, for several calls of :func:`make_plan` on the same problem.

    Raises
    ------
    UsageError, ContractError, InfeasibleError, SolverFailure
        As :func:`make_plan` does.
    """
    return search(build_problem(scenario, table, fixed))


def _plan(
    problem: PlanningProblem,
    rows: IntArray,
    solution: ShareSolution,
    bounds: SearchResult,
    strategy: str,
    claims_optimality: bool,
    why: Sequence[str],
    solve_s: float,
) -> Plan:
    progress = math.fsum(problem.gain[rows])
    objective_s = problem.objective_s(solution.round_latency_s, progress)
    # The bound is proven to within rounding of the objective; it never claims more than the plan itself shows.
    lower_s = min(bounds.lower_bound_s, objective_s)
    gap = objective_s / lower_s - 1.0 if lower_s > 0 else 0.0
    status = PlanStatus.BASELINE
    if claims_optimality:
        status = PlanStatus.OPTIMAL if gap <= OPTIMAL_GAP and (lower_s > 0 or objective_s == 0) else PlanStatus.FEASIBLE
    prices = Prices(**dict(zip(("uplink_s", "downlink_s", "server_s"), solution.prices_s.tolist(), strict=True)))
    return Plan(
        scenario=problem.scenario.resolved(),
        scenario_hash=problem.scenario.content_hash(),
        strategy=strategy,
        status=status,
        objective=problem.objective,
        objective_s=objective_s,
        round_latency_s=solution.round_latency_s,
        progress=progress,
        lower_bound_s=lower_s,
        gap=max(0.0, gap),
        schedule_lower_bound_s=min(bounds.schedule_lower_bound_s, lower_s),
        compile_s=solution.compile_s,
        solve_s=max(0.0, solve_s),
        prices=prices,
        notes=(*notes(prices, solution.round_latency_s), *solution.notes),
        clients=tuple(_client_plans(problem, rows, solution, why)),
    )


def _client_plans(
    problem: PlanningProblem, rows: IntArray, solution: ShareSolution, why: Sequence[str]
) -> list[ClientPlan]:
    work = problem.work.take(rows)
    up_s = work.uplink.seconds(solution.shares[:, 0])
    chosen = problem.table.iloc[rows].to_dict("records")
    plans = []
    for i, row in enumerate(chosen):
        uplink_share, downlink_share, server_share = (float(min(share, 1.0)) for share in solution.shares[i])
        down_s = float(work.downlink_s[i]) / downlink_share if work.downlink_s[i] > 0 else 0.0
        server_s = float(work.server_s[i]) / server_share if work.server_s[i] > 0 else 0.0
        up_model = row["model_upload_bytes"] / row["uplink_bytes"] if row["uplink_bytes"] else 0.0
        down_model = row["model_download_bytes"] / row["downlink_bytes"] if row["downlink_bytes"] else 0.0
        energy_j = float(row["client_energy_j"])
        plans.append(
            ClientPlan(
                id=row["client"],
                device=row["device"],
                cut=int(row["cut"]),
                mode=row["mode"],
                recompute=row["recompute"],
                batch_size=row["batch_size"],
                uplink_share=uplink_share,
                downlink_share=downlink_share,
                server_share=server_share,
                latency_s=float(solution.latency_s[i]),
                phases_s={
                    Phase.MODEL_DOWNLOAD: down_s * down_model,
                    Phase.CLIENT_COMPUTE: float(row["client_compute_s"]),
                    Phase.UPLINK: float(up_s[i]) * (1.0 - up_model),
                    Phase.SERVER_COMPUTE: server_s,
                    Phase.DOWNLINK: down_s * (1.0 - down_model),
                    Phase.MODEL_UPLOAD: float(up_s[i]) * up_model,
                },
                client_compute_s=row["client_compute_s"],
                server_compute_s=row["server_compute_s"],
                uplink_bytes=row["uplink_bytes"],
                downlink_bytes=row["downlink_bytes"],
                model_upload_bytes=row["model_upload_bytes"],
                model_download_bytes=row["model_download_bytes"],
                client_peak_bytes=row["client_peak_bytes"],
                memory_budget_bytes=row["memory_budget_bytes"],
                server_state_bytes=row["server_state_bytes"],
                client_energy_j=energy_j if math.isfinite(energy_j) else None,
                progress=row["progress"],
                data_weight=row["data_weight"],
                confidence=row["confidence"],
                reason=why[i],
            )
        )
    return plans
