"""SmartSplit: cuts by memory budget, training capacity and data, with cost-aware recomputation."""

from __future__ import annotations

import numpy as np

from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.choice import (
    choose_by_score,
    exact_modes,
    for_progress,
    modes_mask,
    require_everybody,
)


class SmartSplit(Strategy):
    """A cut per client from its memory budget, speed and data, in the style of SmartSplit (arXiv 2410.11577).

    Stated in the paper: a central manager sets each cut from memory budget, training capacity and data distribution,
    and the device recomputes activations cost-aware to follow its budget. Our reconstruction: a client's importance
    is its share of the data and its share of every resource is in proportion; at that share it takes the fitting cut
    and recompute level with the least latency, which is the cheapest recomputation that fits since recomputing only
    costs time. The paper's Bayesian optimisation of an unknown utility has nothing to learn here: the costs are
    known.
    """

    name = "smartsplit"
    summary = "cut per client by memory, speed and data with the cheapest recomputation that fits, shares by data"

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Choose each client's option at shares in proportion to its data.

        Raises
        ------
        InfeasibleError
            If a client has no exact option, or no choice keeps the limits.
        """
        mask = modes_mask(problem, exact_modes())
        require_everybody(problem, mask, self.name, "in an exact mode")
        shares = np.repeat(problem.data_weight[:, None], 3, axis=1)
        shares = shares / np.maximum(shares.sum(axis=0), 1.0)
        latency_s = for_progress(problem, problem.work.latency_s(shares[problem.client_index]))
        score = problem.energy_j if problem.objective == ENERGY else latency_s
        rows = choose_by_score(problem, mask, score, self.name)
        return Proposal(rows, shares=shares, reason="least latency that fits its memory, at its data's share")
