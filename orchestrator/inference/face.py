"""The functions of the Python interface, for inference tasks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hybridsplit.orchestrator.folder_choice import choose_folder
from hybridsplit.orchestrator.inference.comparing import compare_apps
from hybridsplit.orchestrator.inference.planning import check_inference_plan, plan_task
from hybridsplit.orchestrator.inference.replaying import ROUNDS, replay_task, save_replay, with_comparison
from hybridsplit.orchestrator.inference.results import AppsComparison, ReplayedApps
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.solver.virtual_space.strategies import INFERENCE_STRATEGIES, InferenceStrategy


def plan_apps(
    scenario: InferenceScenario, strategy: object, warm_start: object, time_limit_s: float | None, *, is_training: bool
) -> InferencePlan:
    """Plan an inference task.

    Parameters
    ----------
    scenario, strategy, warm_start, time_limit_s
        As for ``hybridsplit.plan``.
    is_training
        Whether arguments were given that only training has.

    Raises
    ------
    UsageError
        If an argument belongs to training.
    """
    if is_training:
        raise UsageError("options, fixed: belong to training; leave them out for an inference task")
    if not isinstance(warm_start, InferencePlan | None):
        raise UsageError("warm_start: found a plan of training; needs one of an inference task")
    return plan_task(scenario, _strategy(strategy), time_limit_s=time_limit_s, warm_start=warm_start)


def compare_tasks(
    scenario: InferenceScenario, strategies: Iterable[object] | None, *, is_training: bool
) -> AppsComparison:
    """Plan with several strategies.

    Parameters
    ----------
    scenario, strategies
        As for ``hybridsplit.compare``.
    is_training
        Whether arguments were given that only training has.

    Raises
    ------
    UsageError
        If an argument belongs to training.
    """
    if is_training:
        raise UsageError("options, train: belong to training; leave them out for an inference task")
    chosen = list(INFERENCE_STRATEGIES) if strategies is None else [_strategy(one) for one in strategies]
    rows, plans = compare_apps(scenario, chosen)
    return AppsComparison(scenario, tuple(rows), plans)


def replay_apps(plan: InferencePlan, rounds: int | None, out: str | Path | None) -> ReplayedApps:
    """Replay a plan, and keep plan, figures and report where asked.

    Parameters
    ----------
    plan, rounds, out
        As for ``hybridsplit.replay``.
    """
    check_inference_plan(plan, "the plan")
    folder = None if out is None else choose_folder(Path(out), "", resume=False)
    summary = replay_task(plan, ROUNDS if rounds is None else rounds)
    if folder is None:
        return ReplayedApps(plan, summary)
    summary = with_comparison(plan, summary)
    save_replay(folder, plan, summary)
    return ReplayedApps(plan, summary, folder.path)


def _strategy(strategy: object) -> str | InferenceStrategy:
    if not isinstance(strategy, (str, InferenceStrategy)):
        raise UsageError(
            f"strategy: found {type(strategy).__name__}; needs a name or an InferenceStrategy for an inference task"
        )
    return strategy
