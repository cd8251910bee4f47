"""The functions of the Python interface, for models that are cut several times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hybridsplit.orchestrator.folder_choice import choose_folder
from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.orchestrator.relays.planning import check_relay_plan, compare_relays, plan_relays
from hybridsplit.orchestrator.relays.replaying import replay_relays, save_relay_folder
from hybridsplit.orchestrator.relays.results import RelayRun, RelaysComparison, ReplayedRelays
from hybridsplit.orchestrator.relays.running import check_trains, plan_of_run, run_relays, train_strategies
from hybridsplit.runtime.run.records import RoundDone
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.relays.loading import validate_relays
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.solver.relays.strategies import OPTIMAL, RELAY_STRATEGIES


def plan_over(
    scenario: RelayScenario, strategy: object, time_limit_s: float | None, *, has_options: bool, has_start: bool
) -> RelayPlan:
    """Plan a model over relays.

    Parameters
    ----------
    scenario, strategy, time_limit_s
        As for ``hybridsplit.plan``.
    has_options, has_start
        Whether arguments were given that only one cut has: an option table or fixed options, and a plan to begin from.

    Raises
    ------
    UsageError
        If an argument belongs to one cut.
    """
    if has_options:
        raise UsageError("options, fixed: belong to one cut; leave them out for a scenario with a network")
    if has_start:
        raise UsageError("warm_start: a search over relays starts from placements of its own; leave it out")
    return plan_relays(scenario, _name(strategy), time_limit_s=time_limit_s)


def compare_over(
    scenario: RelayScenario, strategies: Iterable[object] | None, settings: RunSettings | None, *, has_options: bool
) -> RelaysComparison:
    """Plan with several strategies, and train by the plan of each where asked.

    Parameters
    ----------
    scenario, strategies
        As for ``hybridsplit.compare``.
    settings
        How to train; they are only planned when None.
    has_options
        Whether an option table was given.

    Raises
    ------
    UsageError
        If an argument belongs to one cut.
    """
    if has_options:
        raise UsageError("options: belong to one cut; leave them out for a scenario with a network")
    names = list(RELAY_STRATEGIES) if strategies is None else [_name(one) for one in strategies]
    rows = compare_relays(scenario, names) if settings is None else train_strategies(scenario, names, settings)
    return RelaysComparison(scenario.name, tuple(rows))


def replay_over(plan: RelayPlan, rounds: int | None, out: str | Path | None, *, has_traces: bool) -> ReplayedRelays:
    """Replay a plan, and keep plan, figures and report where asked.

    Parameters
    ----------
    plan, rounds, out
        As for ``hybridsplit.replay``.
    has_traces
        Whether recordings were given, or how to read them.

    Raises
    ------
    UsageError
        If recordings were given.
    """
    if has_traces:
        raise UsageError("traces, in_order and absolute: links between machines are constant; leave them out")
    check_relay_plan(plan, "the plan")
    folder = None if out is None else choose_folder(Path(out), "", resume=False)
    summary = replay_relays(plan, rounds)
    if folder is None:
        return ReplayedRelays(plan, summary)
    scenario = validate_relays(plan.scenario, "the plan: scenario")
    summary = summary.model_copy(update={"strategies": tuple(compare_relays(scenario, list(RELAY_STRATEGIES)))})
    save_relay_folder(folder, plan, summary)
    return ReplayedRelays(plan, summary, folder.path)


def run_over(
    plan: RelayPlan | RelayScenario,
    settings: RunSettings,
    out: str | Path | None,
    on_round: Callable[[RoundDone], None],
) -> RelayRun:
    """Train by a plan, replay it, and write the run folder with its report.

    Parameters
    ----------
    plan
        The plan, which carries its scenario; or a scenario to be planned by ``optimal``.
    settings
        Executor, workers, rounds, and whether to resume.
    out, on_round
        As for ``hybridsplit.run``.

    Raises
    ------
    UsageError
        If the folder holds another run, or one that began with another plan.
    """
    given = plan if isinstance(plan, RelayPlan) else None
    if given is not None:
        check_relay_plan(given, "the plan")
    scenario = validate_relays(plan.scenario, "the plan: scenario") if isinstance(plan, RelayPlan) else plan
    check_trains(scenario)
    folder = choose_folder(None if out is None else Path(out).resolve(), scenario.name, resume=settings.resume)
    with folder.claimed():
        chosen = plan_of_run(scenario, folder, given, "the plan", OPTIMAL, resume=settings.resume)
        summary = run_relays(scenario, chosen, folder, settings, on_round=on_round)
    return RelayRun(folder.path, chosen, summary)


def _name(strategy: object) -> str:
    if not isinstance(strategy, str):
        raise UsageError(
            f"strategy: found {type(strategy).__name__}; needs a name for a scenario with a network: "
            f"{', '.join(RELAY_STRATEGIES)}"
        )
    return strategy
