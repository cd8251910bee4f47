"""Make plans of inference tasks, and read them from files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridsplit.profiler.accelerators.space import virtual_space
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.contracts.sealed import check_scenario_inside
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.inference.loading import validate_inference
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.shown import shown

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
    from hybridsplit.solver.virtual_space.planner import derived

    scenario = validate_inference(plan.scenario, f"{origin}: scenario")
    check_scenario_inside(plan.scenario, plan.scenario_hash, scenario.resolved(), scenario.content_hash(), origin)
    space = virtual_space(scenario)
    violations = list(inference_violations(plan, scenario, space))
    again = derived(scenario, space, plan) if not violations else None
    if again is not None:
        violations += _differences(plan.model_dump(mode="json"), again.model_dump(mode="json"))
    if violations:
        more = f", and {len(violations) - 3} more" if len(violations) > 3 else ""
        raise ContractError(
            f"{origin}: is no plan of its scenario: {'; '.join(violations[:3])}{more}; it was changed after it was "
            "made: make the plan again"
        )
    return scenario


def _differences(found: Any, wanted: Any, where: str = "") -> list[str]:
    """Return the figures in which two documents differ by more than rounding."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        return [line for key in found for line in _differences(found[key], wanted[key], f"{where}.{key}".lstrip("."))]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for index, pair in pairs for line in _differences(*pair, f"{where}.{index}")]
    if isinstance(found, float) and isinstance(wanted, float):
        return [] if math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-15) else [_differs(where, found, wanted)]
    return [] if found == wanted else [_differs(where, found, wanted)]


def _differs(where: str, found: object, wanted: object) -> str:
    return f"{where}: found {shown(found)}, its parts come to {shown(wanted)}"
