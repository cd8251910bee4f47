"""Make plans over relays, compare them, and read them from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hybridsplit.profiler.relays import relay_costs
from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.contracts.sealed import check_scenario_inside
from hybridsplit.scenarios.contracts.summary import Scored
from hybridsplit.scenarios.errors import ContractError, InfeasibleError
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.assemble import make_relay_plan
from hybridsplit.solver.relays.strategies import OPTIMAL, find_relay_strategy

Progress = Callable[[str, float], None]


def _silent(what: str, share: float) -> None:
    """Show nothing."""


class ComparedRelays(Scored):
    """What one strategy comes to; figures are None where it has no plan."""

    strategy: str
    infeasible: str | None = None
    """Why it has no plan."""
    value_s: float | None = None
    most_cuts: int | None = None
    ratio: float | None = None
    """Its seconds over those of ``optimal``, where that is among the strategies."""
    lower_bound_s: float | None = None
    """What no placement with as many cuts is below; None for a baseline that claims none."""
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    test_r2: float | None = None
    """After the last round, by ``model.problem_type``; None where nothing was trained."""
    simulated_s: float | None = None
    """The replay's clock then."""


def plan_relays(
    scenario: RelayScenario,
    strategy: str = OPTIMAL,
    *,
    time_limit_s: float | None = None,
    on_progress: Progress = _silent,
) -> RelayPlan:
    """Profile and plan a model over relays.

    Parameters
    ----------
    scenario
        The scenario.
    strategy
        Name of a strategy.
    time_limit_s
        Seconds after which the best verified plan is taken; the scenario's when None.
    on_progress
        Called with what is being done and the share that is done.

    Raises
    ------
    UsageError, ScenarioError, ProfileError, InfeasibleError, SolverFailure
        If there is no such strategy, a cost is not known, no placement keeps the limits, or it does not pass
        verification.
    """
    find_relay_strategy(strategy)
    costs = relay_costs(scenario, on_progress)
    on_progress(f"{strategy}, {scenario.num_clients} clients", 0.5)
    return make_relay_plan(scenario, costs, strategy, time_limit_s=time_limit_s)


def compare_relays(
    scenario: RelayScenario, names: Sequence[str], on_progress: Progress = _silent, costs: RelayCosts | None = None
) -> list[ComparedRelays]:
    """Plan with several strategies; return their figures.

    Parameters
    ----------
    scenario, names, on_progress, costs
        As for :func:`plans_by_strategy`.

    Raises
    ------
    UsageError, ScenarioError, ProfileError
        If there is no strategy of a name, or a cost is not known.
    """
    return plans_by_strategy(scenario, names, on_progress, costs)[0]


def plans_by_strategy(
    scenario: RelayScenario, names: Sequence[str], on_progress: Progress = _silent, costs: RelayCosts | None = None
) -> tuple[list[ComparedRelays], dict[str, RelayPlan]]:
    """Plan with several strategies; return their figures, and the plans that there are.

    Parameters
    ----------
    scenario
        The scenario.
    names
        Their names.
    on_progress
        Called with what is being done and the share that is done.
    costs
        What blocks cost; profiled when None.

    Raises
    ------
    UsageError, ScenarioError, ProfileError
        If there is no strategy of a name, or a cost is not known.
    """
    for name in names:
        find_relay_strategy(name)
    known = relay_costs(scenario, on_progress) if costs is None else costs
    rows: list[ComparedRelays] = []
    plans: dict[str, RelayPlan] = {}
    for position, name in enumerate(names):
        on_progress(f"{name}, {position + 1} of {len(names)}", position / len(names))
        try:
            plan = make_relay_plan(scenario, known, name)
        except InfeasibleError as error:
            rows.append(ComparedRelays(strategy=name, infeasible=str(error)))
            continue
        plans[name] = plan
        bound = plan.lower_bound_s or None
        rows.append(ComparedRelays(strategy=name, value_s=plan.value_s, most_cuts=plan.most_cuts, lower_bound_s=bound))
    best = plans.get(OPTIMAL)
    if best is not None:
        rows = [
            row if row.value_s is None else row.model_copy(update={"ratio": row.value_s / best.value_s}) for row in rows
        ]
    return rows, plans


def open_relay_plan(path: Path) -> RelayPlan:
    """Read a plan, and derive its figures again from the model and the devices that its scenario states.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    AlteredError
        If it is whole but not as it was written.
    ContractError
        If it is missing, damaged, of another version, or no plan of the scenario inside it.
    """
    plan = RelayPlan.load(path)
    check_relay_plan(plan, str(path))
    return plan


def check_relay_plan(plan: RelayPlan, origin: str) -> None:
    """Derive the figures of a plan again from the model and the devices that its scenario states.

    Parameters
    ----------
    plan
        The plan.
    origin
        Where it comes from, for messages.

    Raises
    ------
    ContractError
        If it is no plan of the scenario inside it.
    """
    from hybridsplit.solver.verify.relay_plan import relay_violations

    scenario = validate_relays(plan.scenario, f"{origin}: scenario")
    check_scenario_inside(plan.scenario, plan.scenario_hash, scenario.resolved(), scenario.content_hash(), origin)
    if violations := list(relay_violations(plan, scenario, relay_costs(scenario))):
        more = f", and {len(violations) - 3} more" if len(violations) > 3 else ""
        raise ContractError(
            f"{origin}: is no plan of its scenario: {'; '.join(violations[:3])}{more}; it, the model or a device "
            "was changed after it was made: make the plan again"
        )
