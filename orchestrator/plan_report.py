"""The report of a plan that nothing was replayed or trained by yet."""

from __future__ import annotations

from pathlib import Path

from hybridsplit.orchestrator.plan_file import STATED
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.schema import Scenario


def plan_page(scenario: Scenario, options: OptionTable, plan: Plan, bounds: str = "") -> str:
    """Return the report of a plan: options, memory, bottlenecks, energy and prices; the rest says that it is not known.

    Parameters
    ----------
    scenario, options, plan
        The plan, what it was chosen from, and for what.
    bounds
        Where the plan's bounds come from, where that is not the solver in this process.
    """
    import pandas as pd

    from hybridsplit.orchestrator.report import ReportData, render_report

    nothing = pd.DataFrame()
    return render_report(ReportData(scenario, plan, options, plan.ledger(), nothing, nothing, bounds=bounds))


def apps_page(plan: InferencePlan) -> str:
    """Return the report of a plan of an inference task, with its replay.

    Parameters
    ----------
    plan
        The plan.
    """
    from hybridsplit.orchestrator.inference.replaying import ROUNDS, replay_task
    from hybridsplit.orchestrator.inference.report import render_inference_report

    return render_inference_report(plan, replay_task(plan, ROUNDS))


def report_of_plan_file(path: Path) -> Path:
    """Write the report of a plan file beside it, and return where it is.

    Parameters
    ----------
    path
        The plan; its report has its name and ends in ``.html``.

    Raises
    ------
    AlteredError, ContractError
        If the file is no plan, or is not as it was written.
    ScenarioError, ProfileError
        If the options of its scenario cannot be profiled here.
    """
    from hybridsplit.orchestrator.inference.detect import is_inference_plan
    from hybridsplit.orchestrator.relays.detect import is_relay_plan

    target = path.with_suffix(".html")
    if is_inference_plan(path):
        from hybridsplit.orchestrator.inference.planning import open_inference_plan

        write_text_whole(target, apps_page(open_inference_plan(path)))
        return target
    if is_relay_plan(path):
        from hybridsplit.orchestrator.relays.planning import open_relay_plan
        from hybridsplit.orchestrator.relays.replaying import replay_relays
        from hybridsplit.orchestrator.relays.report import render_relay_report

        made = open_relay_plan(path)
        write_text_whole(target, render_relay_report(made, replay_relays(made, None)))
        return target
    from hybridsplit.orchestrator.plan_file import check_plan
    from hybridsplit.orchestrator.run_folder import open_plan
    from hybridsplit.profiler.options import profile_scenario

    plan, scenario = open_plan(path)
    options = profile_scenario(scenario)
    check_plan(plan, scenario, options, str(path))
    write_text_whole(target, plan_page(scenario, options, plan, STATED))
    return target
