"""Where the advantage of the joint plan comes from: shares, cuts, or modes.

A chain of restrictions of one problem from the best uniform cut to the joint optimum, at the same modes offered and no
less progress, each step allowing more than the one before. So the latencies never rise along it
(docs/methods/planning.md, Baselines as restrictions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.schedule import Simultaneous
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.problem.build import build_problem, without_overlap
from hybridsplit.solver.problem.limiting import with_objective
from hybridsplit.solver.problem.planning_problem import ROUND_LATENCY, PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult, search
from hybridsplit.solver.shares.solution import equal_shares
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.solver.shares.timing import timing_of
from hybridsplit.solver.strategies import find_strategy, require_turns
from hybridsplit.solver.strategies.choice import require_everybody


@dataclass(frozen=True)
class Decomposition:
    """Round latencies along the chain; all plans make at least ``progress``.

    Parameters
    ----------
    splitfed_s
        Best uniform cut at equal shares.
    shares_s
        The same options with the best shares.
    cuts_s
        Each client's own cut as well, in the mode it had.
    modes_s
        Each client's own mode as well: the joint plan.
    modes_lower_bound_s
        Lower bound on ``modes_s``.
    progress
        Progress of the uniform plan, which the others must reach.
    """

    splitfed_s: float
    shares_s: float
    cuts_s: float
    modes_s: float
    modes_lower_bound_s: float
    progress: float

    @property
    def shares_ratio(self) -> float:
        """How many times shorter the round gets by the best shares."""
        return _ratio(self.splitfed_s, self.shares_s)

    @property
    def cuts_ratio(self) -> float:
        """How many times shorter it gets again by a cut per client."""
        return _ratio(self.shares_s, self.cuts_s)

    @property
    def modes_ratio(self) -> float:
        """How many times shorter it gets again by a mode per client."""
        return _ratio(self.cuts_s, self.modes_s)

    @property
    def total_ratio(self) -> float:
        """How many times shorter the joint plan's round is than the uniform one's."""
        return _ratio(self.splitfed_s, self.modes_s)


def decompose(scenario: Scenario, table: OptionTable) -> Decomposition:
    """Measure what shares, cuts and modes each contribute, with clients that wait for every gradient.

    Parameters
    ----------
    scenario, table
        The scenario and its option table.

    Returns
    -------
    Decomposition
        Latencies along the chain, never rising.

    Raises
    ------
    InfeasibleError
        If no single cut fits every client, or the server serves one client after another, or some client goes ahead of
        its gradients whatever the plan, so that there is no uniform plan with static shares to start from.
    SolverFailure
        If a solver stopped without a plan.
    """
    require_turns(scenario, find_strategy("splitfed"))
    problem = build_problem(table, scenario)
    if problem.overlaps.any():
        what = "that waits for every gradient of whole batches: add 0 to training.overlap.staleness, 1 to micro_batches"
        require_everybody(problem, ~problem.overlaps, "splitfed", what)
        problem, _ = without_overlap(problem)
    uniform = find_strategy("splitfed").propose(problem, Effort()).rows
    progress = problem.total_progress(uniform) * (1 - 1e-12)
    equal = equal_shares(problem, uniform).shares
    splitfed_s = float(timing_of(problem, uniform, equal, Simultaneous()).latency_s.max())
    shares_s = min(best_shares(problem, uniform).round_latency_s, splitfed_s)
    same_progress = with_objective(problem, ROUND_LATENCY, progress)
    mode = problem.options["mode"].cat.codes.to_numpy()
    keeps_mode = mode == mode[uniform][problem.client_index]
    own_cuts = same_progress.restricted(keeps_mode)
    position = np.cumsum(keeps_mode) - 1
    cuts = search(own_cuts, Effort(incumbent_rows=position[uniform]))
    start = np.flatnonzero(keeps_mode)[cuts.rows]
    modes = search(same_progress, Effort(incumbent_rows=start))
    cuts_s = min(_objective_s(own_cuts, cuts), shares_s)
    return Decomposition(
        splitfed_s=splitfed_s,
        shares_s=shares_s,
        cuts_s=cuts_s,
        modes_s=min(_objective_s(same_progress, modes), cuts_s),
        modes_lower_bound_s=modes.lower_bound_s,
        progress=progress,
    )


def _objective_s(problem: PlanningProblem, found: SearchResult) -> float:
    """Objective of a search's plan in the round as it is; the search itself knows no waits between steps."""
    if not problem.scenario.training.steps_synchronise:
        return found.objective_s
    return problem.objective_of(found.rows, best_shares(problem, found.rows).round_latency_s)


def _ratio(before_s: float, after_s: float) -> float:
    return before_s / after_s if after_s > 0 else 1.0
