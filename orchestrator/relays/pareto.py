"""The front over relays: seconds of a round, or of inference, against the memory of the clients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hybridsplit.orchestrator.studies.front import Axis, ParetoFront, ParetoPoint, front_over
from hybridsplit.profiler.relays import relay_costs
from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.contracts.relay_plan import RelayClientPlan, RelayPlan
from hybridsplit.scenarios.errors import InfeasibleError, UsageError
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.assemble import make_relay_plan

_BISECTIONS = 20
_NARROW = 1e-3
"""Relative width of what is unknown about the tightest limit, where the search for it ends."""
_LOOK_S = 2.0
"""Seconds for which a limit is looked at that is only asked for a plan, not for the best one."""


def relay_front(
    scenario: RelayScenario, axis: str, num_points: int, on_progress: Callable[[float], None] = lambda done: None
) -> ParetoFront:
    """Plan for the least seconds while every client keeps within a share of its memory budget.

    Nodes keep their memory throughout, so that blocks move to them as the share falls. Each point is a plan of
    ``optimal``, with its bound.

    Parameters
    ----------
    scenario
        The scenario; its own limits hold as well.
    axis
        ``memory``.
    num_points
        Plans to make, at most.
    on_progress
        Called with the part that is done.

    Raises
    ------
    UsageError
        If another axis is asked for.
    InfeasibleError
        If the scenario has no plan at all.
    """
    if axis != "memory":
        raise UsageError(
            f"--x {axis}: over relays clients train exactly and energy is not planned, so that memory alone is traded: "
            "use --x memory"
        )
    return front_over(RelayFront(scenario, relay_costs(scenario)), num_points, on_progress)


@dataclass(frozen=True)
class RelayFront:
    """Plans over relays under a share of the clients' budgets.

    Parameters
    ----------
    scenario, costs
        The scenario, and what its blocks cost.
    axis
        Which figure is limited.
    """

    scenario: RelayScenario
    costs: RelayCosts

    axis: Axis = "memory"

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return self.scenario.name

    @property
    def minimised(self) -> str:
        """What the seconds are of, in words."""
        return self.scenario.objective.minimise.replace("-", " ")

    def ends(self) -> tuple[float, float]:
        """Return the least share that has a plan, by bisection, and that of the plan without a limit."""
        loose = fullest_share(self._plan(1.0, None), self.scenario)
        low, high = 0.0, loose
        for _ in range(_BISECTIONS):
            if high - low <= _NARROW * high:
                break
            middle = 0.5 * (low + high)
            try:
                high = fullest_share(self._plan(middle, _LOOK_S), self.scenario)
            except InfeasibleError:
                low = middle
        return high, loose

    def solve(self, limit: float, earlier: RelayPlan | None) -> tuple[ParetoPoint, RelayPlan]:
        """Plan under a share; searches start anew, whatever the earlier plan."""
        plan = self._plan(limit, None)
        return ParetoPoint(fullest_share(plan, self.scenario), limit, plan.value_s, plan.lower_bound_s), plan

    def _plan(self, share: float, time_limit_s: float | None) -> RelayPlan:
        # Up, for a budget is a whole number of bytes, and the share is that of a plan that was found.
        groups = tuple(
            group.model_copy(update={"memory_budget_bytes": max(1, math.ceil(share * group.memory_budget_bytes))})
            for group in self.scenario.clients
        )
        limited = self.scenario.model_copy(update={"clients": groups})
        return make_relay_plan(limited, self.costs, time_limit_s=time_limit_s)


def fullest_share(plan: RelayPlan, scenario: RelayScenario) -> float:
    """Return the peak of the fullest client relative to its budget.

    Parameters
    ----------
    plan, scenario
        The plan, and the scenario whose budgets count.
    """
    budget_bytes = {group.group: group.memory_budget_bytes for group in scenario.clients}
    return max(_own_peak_bytes(client) / budget_bytes[client.group] for client in plan.clients)


def _own_peak_bytes(client: RelayClientPlan) -> int:
    """Peak of the blocks on the client itself; 0 where its samples leave it."""
    return sum(part.peak_bytes for part in client.placement if part.node == client.path[0])
