"""Make plans of inference tasks, and read them from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.contracts.sealed import first_difference
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.inference.schema import InferenceScenario

if TYPE_CHECKING:
    from hybridsplit.solver.virtual_space.strategies import InferenceStrategy


def plan_task(
    scenario: InferenceScenario,
    strategy: str | InferenceStrategy = "optimal",
    *,
    time_limit_s: float | None = None,
    warm_start: InferencePlan | None = None,
) -> InferencePlan:
    """Plan an inference task.

    Parameters
    ----------
    scenario
        The scenario.
    strategy
        Name of a strategy, or one of your own.
    time_limit_s
        Seconds after which the best verified plan is taken; the scenario's when None.
    warm_start
        An earlier plan to begin with, of a scenario with other apps or devices too.

    Raises
    ------
    UsageError, ProfileError, InfeasibleError, SolverFailure
        If there is no such strategy, a cost is not known, no plan keeps the limits, or it does not pass verification.
    """
    from hybridsplit.solver.virtual_space.planner import make_inference_plan

    return make_inference_plan(
        scenario, virtual_space(scenario), strategy, time_limit_s=time_limit_s, warm_start=warm_start
    )


def open_inference_plan(path: Path) -> InferencePlan:
    """Read a plan, and derive its figures again from the layer lists that its scenario carries.

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
    plan = InferencePlan.load(path)
    check_inference_plan(plan, str(path))
    return plan


def check_inference_plan(plan: InferencePlan, origin: str) -> InferenceScenario:
    """Derive the figures of a plan again, and return its scenario.

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
    from hybridsplit.solver.verify.inference_plan import inference_violations

    scenario = validate_inference(plan.scenario, f"{origin}: scenario")
    if plan.scenario != scenario.resolved():
        where = first_difference(plan.scenario, scenario.resolved())
        raise ContractError(f"{origin}: scenario.{where}: not as a resolved scenario has it; make the plan again")
    if plan.scenario_hash != scenario.content_hash():
        raise ContractError(f"{origin}: scenario_hash: is not that of the scenario inside; make the plan again")
    if violations := list(inference_violations(plan, scenario, virtual_space(scenario))):
        more = f", and {len(violations) - 3} more" if len(violations) > 3 else ""
        raise ContractError(
            f"{origin}: is no plan of its scenario: {'; '.join(violations[:3])}{more}; it was changed after it was "
            "made: make the plan again"
        )
    return scenario
