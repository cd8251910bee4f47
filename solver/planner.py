"""Make plans: from a scenario and its option table to a verified plan with bounds, prices and reasons."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Schedule, Simultaneous
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.assemble import Decision, assemble
from hybridsplit.solver.explain.local_notes import local_notes
from hybridsplit.solver.explain.marginal_values import Counterfactuals, counterfactuals, no_counterfactuals
from hybridsplit.solver.explain.overlap_notes import overlap_notes
from hybridsplit.solver.explain.reasons import reasons
from hybridsplit.solver.explain.target_notes import target_notes
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.build import build_problem, without_overlap
from hybridsplit.solver.problem.costs import AnySchedule, StaticShares
from hybridsplit.solver.problem.planning_problem import TIME_TO_TARGET, PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult, search
from hybridsplit.solver.shares.solution import ShareSolution, equal_shares, given_shares
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.solver.shares.timing import timing_of
from hybridsplit.solver.strategies import Proposal, Strategy, find_strategy, require_turns
from hybridsplit.solver.strategies.choice import require_everybody
from hybridsplit.solver.strategies.for_target import propose_for_target, search_for_target
from hybridsplit.solver.verify.plan import verify_plan

_VALUED_CLIENTS = 2_000
"""Clients up to which a plan says what more of each resource is worth."""


def make_plan(
    scenario: Scenario,
    table: OptionTable,
    strategy: str | Strategy = "optimal",
    *,
    fixed: Mapping[str, tuple[int, str]] | None = None,
    bounds: SearchResult | None = None,
    warm_start: Plan | None = None,
    time_limit_s: float | None = None,
) -> Plan:
    """Make a verified plan.

    Parameters
    ----------
    scenario
        The scenario.
    table
        Its option table.
    strategy
        Name of a strategy (:data:`hybridsplit.solver.strategies.STRATEGIES`), or a strategy itself.
    fixed
        Client id to (cut, mode): options that are decided already.
    bounds
        Bounds of the same problem from :func:`compute_bounds`, to be shared by several plans.
    warm_start
        An earlier plan, for example before a link changed: its options are the first plan considered, wherever they are
        still allowed.
    time_limit_s
        Seconds after which the search stops improving plan and bound; the plan then says so and shows its gap.

    Returns
    -------
    Plan
        Checked by :func:`hybridsplit.solver.verify.plan.verify_plan`. Its gap is to the bound of the whole problem,
        for baselines too.

    Raises
    ------
    UsageError
        If there is no such strategy, or ``fixed`` names a client or option that does not exist.
    ContractError
        If table and scenario disagree.
    InfeasibleError
        If no plan keeps the hard limits, or the strategy's restrictions leave none, or it divides a server that serves
        one client after another.
    SolverFailure
        If a solver stopped, or its plan does not pass verification.
    """
    chosen = find_strategy(strategy)
    require_turns(scenario, chosen)
    began = time.perf_counter()
    problem = build_problem(table, scenario, fixed)
    effort = Effort(
        stop_at=None if time_limit_s is None else began + time_limit_s,
        incumbent_rows=None if warm_start is None else rows_of_plan(problem, warm_start),
    )
    if problem.objective == TIME_TO_TARGET:
        whole, target = problem, propose_for_target(problem, chosen, effort, _value_of)
        problem, proposal = target.problem, target.proposal
        known = bounds or proposal.bounds or search_for_target(whole, effort)
    else:
        proposal = _proposal(chosen, problem, effort)
        known = bounds or proposal.bounds or search(problem, effort.starting_at(proposal.rows))
    solution = _shares(problem, proposal)
    schedule = proposal.schedule or Simultaneous()
    timing = timing_of(problem, proposal.rows, solution.shares, schedule)
    # Nothing is known of savings where batches overlap, where none are claimed, or where they would take too long.
    is_valued = chosen.claims_optimality and not effort.is_over and problem.num_clients <= _VALUED_CLIENTS
    if is_valued and not problem.overlaps.any():
        found = counterfactuals(problem, proposal.rows, solution, schedule)
    else:
        found = no_counterfactuals(problem)
    remarks = solution.notes if proposal.schedule is None else ()
    decision = Decision(
        rows=proposal.rows,
        solution=solution,
        schedule=schedule,
        bounds=known,
        strategy=chosen.name,
        claims_optimality=chosen.claims_optimality,
        timing=timing,
        reasons=_reasons(problem, proposal, schedule, float(timing.latency_s.max()), found),
        notes=(
            *remarks,
            *proposal.notes,
            *target_notes(problem, proposal.rows),
            *overlap_notes(problem, proposal.rows),
            *local_notes(problem, proposal.rows),
        ),
        marginals=found.marginals,
        solve_s=time.perf_counter() - began - solution.compile_s,
    )
    plan = assemble(problem, decision)
    verify_plan(plan, scenario, table)
    return plan


def _reasons(
    problem: PlanningProblem, proposal: Proposal, schedule: Schedule, latency_s: float, found: Counterfactuals
) -> list[str]:
    """Return why every client got its option: the strategy's own reason, or what decided at the plan's prices."""
    if proposal.reason is not None:
        return [proposal.reason] * problem.num_clients
    rule = StaticShares() if isinstance(schedule, Simultaneous) else AnySchedule()
    return reasons(problem, proposal.rows, latency_s, found, rule)


def _proposal(strategy: Strategy, problem: PlanningProblem, effort: Effort) -> Proposal:
    """Let a strategy choose; of steps that overlap only those know that search for the best plan of all."""
    if strategy.claims_optimality or not problem.overlaps.any():
        return strategy.propose(problem, effort)
    what = "that waits for every gradient of whole batches: add 0 to training.overlap.staleness, 1 to micro_batches"
    require_everybody(problem, ~problem.overlaps, strategy.name, what)
    waiting, places = without_overlap(problem)
    proposal = strategy.propose(waiting, dataclasses.replace(effort, incumbent_rows=None))
    return dataclasses.replace(proposal, rows=places[proposal.rows], bounds=None)


def rows_of_plan(problem: PlanningProblem, plan: Plan) -> IntArray | None:
    """[N] rows of an earlier plan in a problem; None if some client's option is not allowed any more.

    Parameters
    ----------
    problem
        The problem now.
    plan
        A plan for the same clients.
    """
    position = {key: row for row, key in enumerate(problem.keys)}
    dropped = {problem.clients[int(problem.client_index[row])].id: row for row in np.flatnonzero(problem.is_dropped)}
    chosen = {client.id: (client.id, *client.key) for client in plan.clients}
    rows = [position.get(chosen.get(client.id, ()), dropped.get(client.id)) for client in problem.clients]
    known = [row for row in rows if row is not None]
    found = np.array(known, dtype=np.int64)
    return found if len(known) == problem.num_clients and problem.keeps_limits(found) else None


def _value_of(problem: PlanningProblem, proposal: Proposal) -> float:
    shares = _shares(problem, proposal).shares
    schedule = proposal.schedule or Simultaneous()
    latency_s = float(timing_of(problem, proposal.rows, shares, schedule).latency_s.max())
    return problem.objective_of(proposal.rows, latency_s)


def _shares(problem: PlanningProblem, proposal: Proposal) -> ShareSolution:
    if proposal.solution is not None:
        return proposal.solution
    if proposal.shares is not None:
        return given_shares(problem, proposal.rows, proposal.shares)
    if proposal.equal_shares:
        return equal_shares(problem, proposal.rows)
    return best_shares(problem, proposal.rows)


def compute_bounds(
    scenario: Scenario, table: OptionTable, fixed: Mapping[str, tuple[int, str]] | None = None
) -> SearchResult:
    """Compute the bounds once, for several calls of :func:`make_plan` on the same problem.

    Parameters
    ----------
    scenario, table, fixed
        As of :func:`make_plan`.

    Raises
    ------
    UsageError, ContractError, InfeasibleError, SolverFailure
        As :func:`make_plan` does.
    """
    problem = build_problem(table, scenario, fixed)
    return search_for_target(problem, Effort()) if problem.objective == TIME_TO_TARGET else search(problem)
