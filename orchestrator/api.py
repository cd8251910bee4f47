"""The Python interface: one function a command, typed values between them.

Functions take what the one before gave, and fill in what is missing: a scenario may be a name, options are profiled and
plans made where they are not given. Nothing is printed. Errors are
:class:`~hybridsplit.scenarios.errors.HybridSplitError` with the message of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hybridsplit.orchestrator.views.notebook  # noqa: F401  registers how values show themselves
from hybridsplit.orchestrator.folder_choice import choose_folder
from hybridsplit.orchestrator.results import Replayed, Run
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario, scenario_of_values
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.orchestrator.pipeline import RunSettings
    from hybridsplit.orchestrator.studies.compare import Comparison
    from hybridsplit.orchestrator.studies.pareto import ParetoFront
    from hybridsplit.runtime.run.records import RoundDone
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.solver.strategies import Strategy

ScenarioLike = Scenario | str | Path | Mapping[str, Any]


def load(source: str | Path | Mapping[str, Any], **overrides: Any) -> Scenario:
    """Load and check a scenario.

    Parameters
    ----------
    source
        A built-in name (``quickstart``), the path of a YAML file, or the values themselves.
    overrides
        Keys to set, with ``__`` between the parts of a path: ``radio__uplink_hz="120 MHz"``. Client groups go by name
        or index: ``clients__pi4__memory_budget_bytes="2 MiB"``; where a name is no Python word, pass
        ``**{"clients.old-phone.count": 3}``.

    Raises
    ------
    ScenarioError
        If there is no such scenario or anything in it is wrong.
    """
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    if isinstance(source, Mapping):
        return scenario_of_values(source, changes)
    return load_scenario(str(source), changes)


def profile(scenario: ScenarioLike) -> OptionTable:
    """Profile what every cut, mode and batch size costs each client.

    Parameters
    ----------
    scenario
        A scenario, or what :func:`load` takes.

    Raises
    ------
    ScenarioError, ProfileError
        If a cost cannot be determined; it is never replaced by zero.
    """
    from hybridsplit.profiler.options import profile_scenario

    return profile_scenario(_scenario(scenario))


def plan(
    scenario: ScenarioLike,
    options: OptionTable | None = None,
    *,
    strategy: str | Strategy = "optimal",
    fixed: Mapping[str, tuple[int, str]] | None = None,
    warm_start: Plan | None = None,
    time_limit_s: float | None = None,
) -> Plan:
    """Choose placement and shares for every client, with a lower bound beside the plan.

    Parameters
    ----------
    scenario
        A scenario, or what :func:`load` takes.
    options
        Its option table; profiled when None.
    strategy
        Name of a strategy, or a strategy of your own.
    fixed
        By client, the cut and mode it is to have.
    warm_start
        An earlier plan to begin the search from.
    time_limit_s
        Seconds after which the best verified plan found by then is taken.

    Raises
    ------
    UsageError, ScenarioError
        If there is no such strategy, client or option, or the scenario is wrong.
    InfeasibleError
        If no plan keeps the hard limits; the message names who, how much is missing and the cheapest relaxation.
    SolverFailure
        If a solver stopped, or its plan does not pass verification.
    """
    from hybridsplit.orchestrator.planned import plan_as_asked

    loaded = _scenario(scenario)
    table = profile(loaded) if options is None else options
    return plan_as_asked(loaded, table, strategy, fixed=fixed, warm_start=warm_start, time_limit_s=time_limit_s)


def compare(
    scenario: ScenarioLike,
    options: OptionTable | None = None,
    strategies: Iterable[str | Strategy] | None = None,
    *,
    train: bool = False,
    rounds: int | None = None,
    executor: str = "inline",
    workers: int | None = None,
) -> Comparison:
    """Plan with several strategies on the same problem, and say where the difference comes from.

    Parameters
    ----------
    scenario
        A scenario, or what :func:`load` takes.
    options
        Its option table; profiled when None.
    strategies
        Names or strategies; all registered ones when None.
    train
        Whether to train with each plan as well, and with its frozen control.
    rounds, executor, workers
        As for :func:`run`, where ``train`` is set.

    Raises
    ------
    UsageError, ScenarioError, InfeasibleError
        As for :func:`plan`; a strategy without a plan is a row that says why.
    """
    from hybridsplit.orchestrator.studies.compare import compare_plans, train_plans
    from hybridsplit.solver.strategies import STRATEGIES

    loaded = _scenario(scenario)
    table = profile(loaded) if options is None else options
    compared = compare_plans(loaded, table, list(STRATEGIES) if strategies is None else list(strategies))
    return train_plans(loaded, table, compared, _settings(executor, workers, rounds)) if train else compared


def pareto(
    scenario: ScenarioLike, options: OptionTable | None = None, *, x: str = "memory", points: int = 12
) -> ParetoFront:
    """Trade round latency against memory, energy or progress; every point is a plan's, with its bound.

    Parameters
    ----------
    scenario
        A scenario, or what :func:`load` takes.
    options
        Its option table; profiled when None.
    x
        ``memory``, ``energy`` or ``progress``.
    points
        Plans to make, at most.

    Raises
    ------
    UsageError
        If there is no such axis.
    InfeasibleError
        If the scenario has no plan at all, or energy is asked for and unknown.
    """
    from hybridsplit.orchestrator.studies.pareto import pareto_front

    loaded = _scenario(scenario)
    return pareto_front(loaded, profile(loaded) if options is None else options, x, points)


def run(
    plan: Plan | ScenarioLike,
    *,
    rounds: int | None = None,
    executor: str = "inline",
    workers: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_round: Callable[[RoundDone], None] | None = None,
) -> Run:
    """Train by a plan while its network is replayed, and write a run folder with its report.

    Parameters
    ----------
    plan
        The plan, which carries its scenario; or a scenario to be planned by ``optimal``.
    rounds
        Rounds; the scenario's when None.
    executor
        ``inline`` trains in this process, ``ray`` on a local cluster, to the same bits.
    workers
        Worker processes of ``ray``; one a core when None.
    out
        The run folder; ``runs/NAME`` when None.
    resume
        Whether to continue the run that is there.
    on_round
        Called after every round of the plan with its number, simulated seconds, loss, accuracy, bytes and largest peak;
        first, where a run goes on, for the rounds that are done. What it raises ends the run.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    UsageError
        If the folder holds another run.
    """
    from hybridsplit.orchestrator.pipeline import check_begun, check_data, run_plan
    from hybridsplit.orchestrator.plan_file import check_plan, scenario_inside

    chosen = plan if isinstance(plan, Plan) else _plan_of(plan)
    scenario = scenario_inside(chosen, "the plan")
    folder = choose_folder(None if out is None else Path(out).resolve(), scenario.name, resume=resume)
    with folder.claimed():
        if resume:
            check_begun(folder, chosen, "the plan")
        check_data(scenario)
        options = profile(scenario)
        check_plan(chosen, scenario, options, "the plan")
        run_plan(
            scenario, options, chosen, folder, _settings(executor, workers, rounds, resume=resume),
            on_round=lambda run, done: on_round(done) if on_round is not None and run == "plan" else None,
        )  # fmt: skip
    return Run(folder.path)


def replay(
    plan: Plan,
    *,
    rounds: int = 1,
    traces: str | Path | None = None,
    out: str | Path | None = None,
    in_order: bool = False,
    absolute: bool = False,
) -> Replayed:
    """Replay a plan's network over constant or recorded links, without training.

    Parameters
    ----------
    plan
        The plan.
    rounds
        Rounds to replay.
    traces
        Folder of recorded bandwidth traces, dealt to the clients; the scenario's own when None.
    out
        Folder for ledger and report; nothing is written when None.
    in_order
        Whether recordings run on from round to round, from their start; every round is a window drawn from the seed
        otherwise, so that rounds are samples.
    absolute
        Whether a recording's rates are those of the client's link; a recording says when a link is good, and the plan
        how good it is on average, otherwise.

    Raises
    ------
    ScenarioError, UsageError
        If a recording cannot be read, or the folder holds a run already.
    """
    from hybridsplit.orchestrator.plan_file import check_plan, scenario_inside
    from hybridsplit.orchestrator.recordings import recordings_for
    from hybridsplit.orchestrator.replaying import replay_plan

    scenario = scenario_inside(plan, "the plan")
    check_plan(plan, scenario, None, "the plan")
    dealt = recordings_for(plan, scenario, None if traces is None else Path(traces), absolute=absolute)
    folder = None if out is None else choose_folder(Path(out), "", resume=False)
    return replay_plan(plan, scenario, folder, rounds, dealt, in_order=in_order, absolute=absolute)


def report(run: Run | str | Path) -> Path:
    """Render a run's report again, and return where it is.

    Parameters
    ----------
    run
        A run, or its folder.

    Raises
    ------
    ContractError
        If the folder holds no complete run.
    """
    from hybridsplit.orchestrator.pipeline import write_report

    return write_report(RunFolder(run.path if isinstance(run, Run) else Path(run)))


def _scenario(scenario: ScenarioLike) -> Scenario:
    return scenario if isinstance(scenario, Scenario) else load(scenario)


def _plan_of(scenario: ScenarioLike) -> Plan:
    return plan(scenario)


def _settings(executor: str, workers: int | None, rounds: int | None, *, resume: bool = False) -> RunSettings:
    from hybridsplit.orchestrator.pipeline import RunSettings, default_workers
    from hybridsplit.scenarios.errors import UsageError

    if executor not in ("inline", "ray"):
        raise UsageError(f"executor: found {executor!r}; needs 'inline' or 'ray'")
    return RunSettings(executor, workers or default_workers(), rounds, resume)
