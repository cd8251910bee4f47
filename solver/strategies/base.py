"""The shape of a strategy: a name, one sentence, and a way to assign options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hybridsplit.scenarios.contracts.schedule import Schedule
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult
from hybridsplit.solver.shares.solution import ShareSolution


@dataclass(frozen=True)
class Assignment:
    """What a strategy decided.

    Parameters
    ----------
    rows
        [N] row of the problem for every client.
    equal_shares
        True if every client gets ``1/N`` of every resource; otherwise the shares are optimised for these options.
    shares
        [N, 3] the strategy's own shares of uplink, downlink and server, instead of either.
    solution
        The shares with their prices where the strategy has solved for them already.
    schedule
        How clients use the resources where that is not all at once; it comes with ``shares``.
    notes
        Remarks worth showing with the plan.
    bounds
        Bounds of the problem, where the strategy computed them on its way.
    reason
        What decided every client's option, in words; None to have it worked out per client from the prices.
    """

    rows: IntArray
    equal_shares: bool = False
    shares: FloatArray | None = None
    solution: ShareSolution | None = None
    schedule: Schedule | None = None
    notes: tuple[str, ...] = ()
    bounds: SearchResult | None = None
    reason: str | None = None


class Strategy(Protocol):
    """A way to make a plan. A strategy restricts the same problem as every other; it never changes it."""

    @property
    def name(self) -> str:
        """Name on the command line."""
        ...

    @property
    def summary(self) -> str:
        """One sentence for lists of strategies."""
        ...

    @property
    def claims_optimality(self) -> bool:
        """True if a plan within the tolerance of its bound is called optimal, not a baseline."""
        ...

    def assign(self, problem: PlanningProblem, effort: Effort) -> Assignment:
        """Choose one option for every client.

        Parameters
        ----------
        problem
            The planning problem.
        effort
            When to stop searching, and a plan to start from; a strategy that does not search ignores it.

        Raises
        ------
        InfeasibleError
            If the strategy's restrictions leave a client without an option, or no plan keeps the limits.
        SolverFailure
            If a solver stopped without a plan.
        """
        ...
