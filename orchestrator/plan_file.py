"""Plans from files: whole, as they were written, and true of their scenario. Every command reads plans here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.runtime.replay import scenario_of
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.sealed import check_scenario_inside
from hybridsplit.scenarios.errors import AlteredError, ContractError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.verify.plan import plan_violations, shortened

if TYPE_CHECKING:
    from hybridsplit.scenarios.contracts.options import OptionTable

STATED = "stated by the plan's file, not derived again"
"""What is said of bounds and gap of a plan that was read: a proof takes the solver."""


def read_plan(path: Path, options: OptionTable | None = None) -> tuple[Plan, Scenario]:
    """Read a plan, and derive its figures again.

    Parameters
    ----------
    path
        The file.
    options
        The option table it was chosen from, where there is one. Without it the costs of every option are taken as the
        plan states them, and all that follows from them is derived.

    Returns
    -------
    The plan, and the scenario inside it.

    Raises
    ------
    AlteredError
        If the file is whole but not as it was written; the message names what differs, as far as it can be derived.
    ContractError
        If it is missing, damaged, of another schema version, or no plan of the scenario inside it.
    """
    try:
        plan = Plan.load(path)
    except AlteredError as error:
        raise AlteredError(f"{error}; {_what_differs(error, path, options)}", error.document) from error
    scenario = scenario_inside(plan, str(path))
    check_plan(plan, scenario, options, str(path))
    return plan, scenario


def scenario_inside(plan: Plan, origin: str) -> Scenario:
    """Return the scenario that a plan carries.

    Parameters
    ----------
    plan
        The plan.
    origin
        Where it came from.

    Raises
    ------
    ContractError
        If it is not the resolved scenario that the plan's hash stands for.
    ScenarioError
        If it is no valid scenario.
    """
    scenario = scenario_of(plan)
    check_scenario_inside(plan.scenario, plan.scenario_hash, scenario.resolved(), scenario.content_hash(), origin)
    return scenario


def check_plan(plan: Plan, scenario: Scenario, options: OptionTable | None, origin: str) -> None:
    """Derive a plan's figures again.

    Parameters
    ----------
    plan, scenario, options
        The plan, its scenario, and the option table where there is one.
    origin
        Where the plan came from.

    Raises
    ------
    ContractError
        If it breaks a limit or a figure does not follow from the others; the message lists them.
    """
    if violations := list(plan_violations(plan, scenario, options)):
        raise ContractError(
            f"{origin}: is no plan of its scenario, {_counted(violations)}: {shortened(violations)}; it was changed "
            "after it was made, or the model, data or device it was made for were: make the plan again"
        )


def _what_differs(error: AlteredError, path: Path, options: OptionTable | None) -> str:
    """Say which figures do not follow from the others any more."""
    try:
        plan = Plan.of_document(error.document or {}, str(path))
        violations = list(plan_violations(plan, scenario_inside(plan, str(path)), options))
    except ContractError as wrong:
        return f"of what was changed this shows: {str(wrong).removeprefix(f'{path}: ')}"
    except ValueError as wrong:
        return f"of what was changed this shows: {wrong}"
    if not violations:
        return "what was changed does not follow from anything else in it: a bound, a gap, a time, a cost or words"
    return f"of what was changed this shows: {shortened(violations)}"


def _counted(violations: list[str]) -> str:
    return "1 figure is wrong" if len(violations) == 1 else f"{len(violations)} figures are wrong"
