"""All clients train by forward passes: HOSL and HO-SFL."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hybridsplit.scenarios.contracts.modes import Mode
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.solver.problem.arrays import all_occur
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.strategies.base import Proposal, Strategy
from hybridsplit.solver.strategies.choice import modes_mask, require_everybody
from hybridsplit.solver.strategies.equal import EqualShareChoice, best_at_equal_shares


class EverybodyOneMode(Strategy):
    """The best uniform cut with one mode for every client, at equal shares."""

    mode: ClassVar[Mode]

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Try every cut at which all clients have the mode.

        Raises
        ------
        InfeasibleError
            If a client lacks the mode, no single cut has it everywhere, or none keeps the limits.
        """
        mask = modes_mask(problem, {str(self.mode)})
        require_everybody(problem, mask, self.name, f"with {self.mode}")
        best: EqualShareChoice | None = None
        for cut in np.unique(problem.cuts[mask]):
            at_cut = mask & (problem.cuts == cut)
            if not all_occur(problem.client_index[at_cut], problem.num_clients):
                continue
            choice = best_at_equal_shares(problem, at_cut, best.objective_s if best else np.inf)
            best = choice or best
        if best is None:
            raise InfeasibleError(
                f"{self.name}: no single cut has {self.mode} for every client within the limits; relax them, or use "
                "the strategy 'optimal'"
            )
        cut = int(problem.cuts[best.rows[0]])
        return Proposal(best.rows, equal_shares=True, reason=f"{self.mode} for everybody at cut {cut}, equal shares")
