"""Plan again for links and memory that are expected, beginning from the present plan, and value plans on them."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hybridsplit.orchestrator.replanning.beliefs import Beliefs
from hybridsplit.runtime.replay import replay
from hybridsplit.scenarios.contracts.attendance import Attendance
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.schedule import Chain
from hybridsplit.scenarios.errors import ContractError, InfeasibleError, RunError, SolverFailure, UsageError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import compute_bounds, make_plan
from hybridsplit.solver.search.joint import SearchResult
from hybridsplit.solver.strategies import Strategy, find_strategy
from hybridsplit.solver.strategies.given import Given
from hybridsplit.solver.strategies.optimal import Optimal
from hybridsplit.solver.strategies.static import Static

_REASON = "planned again for the links of finished rounds"


class _Optimal(Optimal):
    """The best plan of any kind, of which nothing is explained: its options and schedule are all that is taken."""

    claims_optimality = False


class _Static(Static):
    """The same with constant shares."""

    claims_optimality = False


class PlanSearch:
    """Plans one scenario again and again.

    Parameters
    ----------
    scenario, table
        The scenario and its option table.
    first
        The plan of the first round: its strategy is used throughout.
    """

    def __init__(self, scenario: Scenario, table: OptionTable, first: Plan) -> None:
        self._scenario, self._table = scenario, table
        known: dict[str, Strategy] = {"optimal": _Optimal(), "static": _Static()}
        self._strategy = known.get(first.strategy) or find_strategy(first.strategy)

    @cached_property
    def _bounds(self) -> SearchResult:
        return compute_bounds(self._scenario, self._table)

    def plan_for(self, beliefs: Beliefs, present: Plan) -> Plan | None:
        """Return the plan that is best where everything is as expected; None where none is found.

        It is searched on an option table of stretched bytes, from the present plan on, and its options, shares and
        schedule are taken over to the true one and verified there, so that its own figures are those of nominal links.

        Parameters
        ----------
        beliefs
            What is expected.
        present
            The plan to begin from.
        """
        steps = self._scenario.training.local_steps
        try:
            found = make_plan(self._scenario, beliefs.table(self._table, steps), self._strategy, warm_start=present)
            if isinstance(found.schedule, Chain):
                return None
            shares = np.array([(c.uplink_share, c.downlink_share, c.server_share) for c in found.clients])
            given = Given(found.schedule, _REASON, shares)
            plan = make_plan(self._scenario, self._table, given, bounds=self._bounds, warm_start=found)
        except (InfeasibleError, SolverFailure, UsageError):
            return None
        same = (plan.clients, plan.schedule) == (present.clients, present.schedule)
        return None if same else plan.model_copy(update={"strategy": present.strategy})

    def value_s(self, plan: Plan, beliefs: Beliefs) -> float:
        """Return a plan's objective where everything is as expected, by playing a round; infinite if it never ends.

        Parameters
        ----------
        plan, beliefs
            The plan, and what is expected.
        """
        try:
            played = replay(
                plan, self._scenario, num_rounds=1, traces=beliefs.links(), memory=beliefs.memory(plan),
                attendance=Attendance.of_everybody((client.id for client in plan.clients), 1),
            )  # fmt: skip
        except (RunError, ContractError):
            return float("inf")
        return objective_s(plan, played.round_latency_s[0])


def objective_s(plan: Plan, latency_s: float) -> float:
    """Return the objective of a plan whose round takes so long: objectives in seconds are proportional to it.

    Parameters
    ----------
    plan, latency_s
        The plan, and the latency of a round.
    """
    return plan.objective_s * (latency_s / plan.round_latency_s)
