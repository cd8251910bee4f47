"""The best plan of any kind: constant shares, or the whole resources for one client at a time, by priority."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Dispatch, Simultaneous
from hybridsplit.solver.dispatch.search import DispatchSearch
from hybridsplit.solver.problem.arrays import IntArray
from hybridsplit.solver.problem.build import without_overlap
from hybridsplit.solver.problem.kinds import group_alike
from hybridsplit.solver.problem.planning_problem import ENERGY, PlanningProblem
from hybridsplit.solver.search.joint import Effort
from hybridsplit.solver.shares.synchronised import best_shares
from hybridsplit.solver.shares.timing import timing_of
from hybridsplit.solver.strategies.base import Proposal, Sharing, Strategy
from hybridsplit.solver.strategies.relaxed import relaxed_choices
from hybridsplit.solver.strategies.static import Static
from hybridsplit.solver.strategies.time_shared import TimeShared

_SHORTER = 1e-9
"""By how much, relatively, serving by priority must be shorter to be preferred to constant shares."""


class Optimal(Strategy):
    """The shortest of a plan with constant shares, which is proven, and one that serves by priority (our own).

    A resource with constant shares is idle while its owner computes. Serving one client at a time, whole, and of those
    that wait the most urgent, leaves no resource idle while anybody wants it. Options and urgencies are searched
    together; the bound is that of any schedule. Where the server's model steps on one client after another, clients
    take turns, since their order is then part of what is trained (docs/methods/planning.md, Service by priority).
    """

    name = "optimal"
    summary = "the best plan of any kind: constant shares or service by priority, with a bound for any schedule"
    sharing = Sharing.ANY
    divides_server = False
    claims_optimality = True

    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Plan with constant shares first, then look for a schedule that is shorter.

        Raises
        ------
        InfeasibleError
            If no plan keeps the limits.
        SolverFailure
            If no plan was found although none of the proofs of infeasibility holds.
        """
        if problem.scenario.training.server_model == "shared-sequential":
            return TimeShared().propose(problem, effort)
        if problem.overlaps.any():
            return self._with_overlap(problem, effort)
        choices = problem.scenario.training.head_block_choices
        if 0 in choices and max(choices) > 0:
            return self._with_heads(problem, effort)
        return self._of_any_kind(problem, effort)

    def _of_any_kind(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        static = Static().propose(problem, effort)
        solution = static.solution or best_shares(problem, static.rows)
        static_s = problem.objective_of(static.rows, solution.round_latency_s)
        bounds = static.bounds
        assert bounds is not None
        proven = Proposal(static.rows, solution=solution, bounds=bounds)
        if effort.is_over or not static_s > bounds.schedule_lower_bound_s * (1 + _SHORTER):
            return proven
        choices = relaxed_choices(problem, bounds, self.name)
        by_energy = problem.objective == ENERGY
        options = [np.array([row]) for row in static.rows] if by_energy else _undominated(problem)
        search = DispatchSearch(
            problem, options, choices.ratings, lambda: effort.is_over, bounds.schedule_lower_bound_s
        )
        starts = [static.rows, *(() if by_energy else choices.rows)]
        found = search.best_from(starts)
        if max(problem.scenario.training.head_block_choices) > 0:
            found = min(found, search.best_in_ranks(starts), key=lambda choice: choice.value_s)
        if found.value_s >= static_s * (1 - _SHORTER):
            return proven
        kept = np.flatnonzero(~problem.is_dropped[found.rows])
        return Proposal(
            found.rows,
            shares=np.ones((problem.num_clients, 3)),
            schedule=Dispatch(
                order=tuple(problem.clients[i].id for i in kept), urgency_s=tuple(found.urgency_s[kept].tolist())
            ),
            bounds=bounds,
        )

    def _with_overlap(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Compare the best plan in which all wait for every gradient with constant shares in which some do not.

        Service by priority takes part without overlap only: with it, a client asks for several resources at a time.
        """
        plain = None
        start = None
        with contextlib.suppress(ValueError):
            waiting, places = without_overlap(problem)
            plain = self.propose(waiting, effort)
            start = places[plain.rows]
        ahead = Static().propose(problem, effort.starting_at(start))
        assert ahead.bounds is not None
        if plain is None or start is None or plain.schedule is None:
            return ahead
        plain_s = _value(problem, start, plain)
        ahead_s = problem.value_of(ahead.rows, best_shares(problem, ahead.rows).round_latency_s)
        if ahead_s < plain_s * (1 - _SHORTER):
            return ahead
        return dataclasses.replace(plain, rows=start, bounds=ahead.bounds)

    def _with_heads(self, problem: PlanningProblem, effort: Effort) -> Proposal:
        """Search among all options, and among those without a head on the client: more choice is never a worse plan."""
        found = self._of_any_kind(problem, effort)
        without = problem.options["head_blocks"].to_numpy() == 0
        if without.all():
            return found
        with contextlib.suppress(ValueError):
            plain = self._of_any_kind(problem.restricted(without), effort)
            rows = np.flatnonzero(without)[plain.rows]
            if _value(problem, rows, plain) < _value(problem, found.rows, found):
                return dataclasses.replace(plain, rows=rows, bounds=found.bounds)
        return found


def _value(problem: PlanningProblem, rows: IntArray, proposal: Proposal) -> float:
    """What is minimised, of a proposal with shares or a solution, and its rows in the problem."""
    shares = proposal.shares if proposal.solution is None else proposal.solution.shares
    assert shares is not None
    timing = timing_of(problem, rows, shares, proposal.schedule or Simultaneous())
    kept = ~problem.is_dropped[rows]
    return problem.value_of(rows, float(timing.latency_s[kept].max()))


def _undominated(problem: PlanningProblem) -> list[IntArray]:
    """[N] the rows of every client that no other row is as good as in all respects."""
    kinds, starts = group_alike(problem), problem.starts
    found: list[IntArray] = [starts] * problem.num_clients
    for c, members in enumerate(kinds.members):
        own = kinds.rows[kinds.starts[c] : kinds.starts[c] + kinds.options_per_kind[c]] - starts[members[0]]
        for client in members.tolist():
            found[client] = starts[client] + own
    return found
