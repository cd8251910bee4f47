"""What a strategy is: facts on its class, and a way to propose options and shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from hybridsplit.scenarios.contracts.schedule import Schedule
from hybridsplit.solver.problem.arrays import FloatArray, IntArray
from hybridsplit.solver.problem.planning_problem import PlanningProblem
from hybridsplit.solver.search.joint import Effort, SearchResult
from hybridsplit.solver.shares.solution import ShareSolution


@dataclass(frozen=True)
class Proposal:
    """What a strategy proposes.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", np.asarray(self.rows, dtype=np.int64))


class Sharing(StrEnum):
    """How the clients of a strategy's plans use the shared resources."""

    STATIC = "static"
    """All at once, each with constant shares."""
    TURNS = "turns"
    """One transfer or server job after another, each with the whole resource."""
    ANY = "any"
    """Whichever of these, or the whole resources by priority, makes the round shortest."""
    CHAIN = "chain"
    """Some or all clients one after another, each for its whole round."""


class Strategy(ABC):
    """A way to make a plan. A strategy restricts the same problem as every other; it never changes it.

    What a strategy is stands as facts on its class, which the planner asks instead of its name. A new strategy is one
    file; one of ours is a line in ``solver/strategies/__init__.py`` as well, one of an installed package an entry point
    of the group ``hybridsplit.strategies``.
    """

    name: ClassVar[str]
    """Name on the command line."""
    summary: ClassVar[str]
    """One sentence for lists of strategies."""
    sharing: ClassVar[Sharing] = Sharing.STATIC
    """How clients use the shared resources. ``optimal`` is never worse than a strategy with static shares."""
    divides_server: ClassVar[bool] = True
    """Whether several clients use the server at a time; not possible where its model steps on one after another."""
    claims_optimality: ClassVar[bool] = False
    """Whether a plan within the tolerance of its bound is called optimal, not a baseline."""

    @abstractmethod
    def propose(self, problem: PlanningProblem, effort: Effort) -> Proposal:
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
