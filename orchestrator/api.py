"""The Python interface: one function a command, typed values between them.

Functions take what the one before gave, and fill in what is missing: a scenario may be a name, options are profiled and
plans made where they are not given. Nothing is printed. Errors are
:class:`~hybridsplit.scenarios.errors.HybridSplitError` with the message of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

import hybridsplit.orchestrator.inference.notebook
import hybridsplit.orchestrator.relays.notebook
import hybridsplit.orchestrator.views.notebook  # noqa: F401  registers how values show themselves
from hybridsplit.orchestrator.api_runs import nothing_trained, run_settings
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.loader import load_task, task_of_values
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.orchestrator.inference.results import AppsComparison, LayerCosts
    from hybridsplit.orchestrator.relays.results import RelaysComparison
    from hybridsplit.orchestrator.studies.compare import Comparison
    from hybridsplit.orchestrator.studies.front import ParetoFront
    from hybridsplit.orchestrator.studies.what_if import WhatIf
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.relay_costs import RelayCosts
    from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
    from hybridsplit.scenarios.relays.schema import RelayScenario
    from hybridsplit.solver.strategies import Strategy
    from hybridsplit.solver.virtual_space.strategies import InferenceStrategy

Source = str | Path | Mapping[str, Any]
AnyScenario: TypeAlias = "Scenario | InferenceScenario | RelayScenario | Source"


def load(source: Source, **overrides: Any) -> Any:
    """Load and check a scenario.

    What comes back depends on the file, which a type checker cannot see: a :class:`~hybridsplit.Scenario`, an
    ``InferenceScenario`` of such a task, or a ``RelayScenario`` where there is a network of relays. What is planned for
    each is typed.

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
        return task_of_values(source, changes)
    return load_task(str(source), changes)


@overload
def profile(scenario: Scenario | Source) -> OptionTable: ...
@overload
def profile(scenario: InferenceScenario) -> LayerCosts: ...
@overload
def profile(scenario: RelayScenario) -> RelayCosts: ...
def profile(scenario: AnyScenario) -> OptionTable | LayerCosts | RelayCosts:
    """Profile what every cut, mode and batch size costs each client.

    For inference, what each layer takes of each accelerator; over relays, each block of each machine.

    Parameters
    ----------
    scenario
        A scenario, or what :func:`load` takes.

    Raises
    ------
    ScenarioError, ProfileError
        If a cost cannot be determined; it is never replaced by zero.
    """
    loaded = as_task(scenario)
    if isinstance(loaded, InferenceScenario):
        from hybridsplit.orchestrator.inference.results import LayerCosts

        return LayerCosts(loaded)
    if not isinstance(loaded, Scenario):
        from hybridsplit.profiler.relays import relay_costs

        return relay_costs(loaded)
    from hybridsplit.profiler.options import profile_scenario

    return profile_scenario(loaded)


@overload
def plan(
    scenario: Scenario | Source, options: OptionTable | None = None, *, strategy: str | Strategy = "optimal",
    fixed: Mapping[str, tuple[int, str]] | None = None, warm_start: Plan | None = None,
    time_limit_s: float | None = None,
) -> Plan: ...  # fmt: skip
@overload
def plan(
    scenario: InferenceScenario, *, strategy: str | InferenceStrategy = "optimal",
    warm_start: InferencePlan | None = None, time_limit_s: float | None = None,
) -> InferencePlan: ...  # fmt: skip
@overload
def plan(scenario: RelayScenario, *, strategy: str = "optimal", time_limit_s: float | None = None) -> RelayPlan: ...
def plan(
    scenario: AnyScenario,
    options: OptionTable | None = None,
    *,
    strategy: str | Strategy | InferenceStrategy = "optimal",
    fixed: Mapping[str, tuple[int, str]] | None = None,
    warm_start: Plan | InferencePlan | None = None,
    time_limit_s: float | None = None,
) -> Plan | InferencePlan | RelayPlan:
    """Choose placement and shares for every client, or which layers of every app run where, with a bound beside it.

    Over relays, choose a path and its cuts for every client.

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

    loaded = as_task(scenario)
    if isinstance(loaded, InferenceScenario):
        from hybridsplit.orchestrator.inference import face

        return face.plan_apps(
            loaded, strategy, warm_start, time_limit_s, is_training=options is not None or fixed is not None
        )
    if not isinstance(loaded, Scenario):
        from hybridsplit.orchestrator.relays.face import plan_over

        has_options = options is not None or fixed is not None
        return plan_over(loaded, strategy, time_limit_s, has_options=has_options, has_start=warm_start is not None)
    table = profile(loaded) if options is None else options
    if isinstance(warm_start, InferencePlan):
        raise UsageError("warm_start: found the plan of an inference task; needs one of training")
    asked = cast("str | Strategy", strategy)
    return plan_as_asked(loaded, table, asked, fixed=fixed, warm_start=warm_start, time_limit_s=time_limit_s)


@overload
def compare(
    scenario: Scenario | Source, options: OptionTable | None = None,
    strategies: Iterable[str | Strategy] | None = None, *, train: bool = False, rounds: int | None = None,
    executor: str = "inline", workers: int | None = None,
) -> Comparison: ...  # fmt: skip
@overload
def compare(
    scenario: InferenceScenario, options: None = None, strategies: Iterable[str | InferenceStrategy] | None = None
) -> AppsComparison: ...
@overload
def compare(
    scenario: RelayScenario, options: None = None, strategies: Iterable[str] | None = None, *, train: bool = False,
    rounds: int | None = None, executor: str = "inline", workers: int | None = None,
) -> RelaysComparison: ...  # fmt: skip
def compare(
    scenario: AnyScenario,
    options: OptionTable | None = None,
    strategies: Iterable[str | Strategy | InferenceStrategy] | None = None,
    *,
    train: bool = False,
    rounds: int | None = None,
    executor: str = "inline",
    workers: int | None = None,
) -> Comparison | AppsComparison | RelaysComparison:
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

    loaded = as_task(scenario)
    if isinstance(loaded, InferenceScenario):
        from hybridsplit.orchestrator.inference import face

        return face.compare_tasks(loaded, strategies, is_training=options is not None or train)
    if not isinstance(loaded, Scenario):
        from hybridsplit.orchestrator.relays.face import compare_over

        settings = run_settings(executor, workers, rounds) if train else None
        return compare_over(loaded, strategies, settings, has_options=options is not None)
    table = profile(loaded) if options is None else options
    chosen = list(STRATEGIES) if strategies is None else cast("list[str | Strategy]", list(strategies))
    compared = compare_plans(loaded, table, chosen)
    return train_plans(loaded, table, compared, run_settings(executor, workers, rounds)) if train else compared


def pareto(
    scenario: AnyScenario, options: OptionTable | None = None, *, x: str = "memory", points: int = 12
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

    loaded = as_task(scenario)
    if isinstance(loaded, InferenceScenario):
        raise nothing_trained("pareto")
    if not isinstance(loaded, Scenario):
        from hybridsplit.orchestrator.relays.pareto import relay_front

        if options is not None:
            raise UsageError("options: belong to one cut; leave them out for a scenario with a network")
        return relay_front(loaded, x, points)
    return pareto_front(loaded, profile(loaded) if options is None else options, x, points)


def what_if(scenario: AnyScenario, vary: Mapping[str, Iterable[Any]], *, strategy: str = "optimal") -> WhatIf:
    """Plan for every combination of other values of some keys.

    Parameters
    ----------
    scenario
        A scenario, or what :func:`load` takes.
    vary
        Values by key, whose path is written with dots or ``__``; ``"0.5x"`` is a factor of what the scenario says.
    strategy
        Name of a strategy.

    Raises
    ------
    UsageError, ScenarioError
        If there is no such strategy, a value is none of its key, or there are too many combinations.
    SolverFailure
        If a solver stopped. A combination without a plan is a cell that says why.
    """
    from hybridsplit.orchestrator.relays.what_if import cells_by
    from hybridsplit.orchestrator.studies.what_if import varied_of
    from hybridsplit.orchestrator.studies.what_if import what_if as study_of

    varied = varied_of(vary)
    loaded = as_task(scenario)
    if isinstance(loaded, InferenceScenario):
        raise nothing_trained("what_if")
    return study_of(loaded, varied, strategy, cell_of=cells_by(loaded, strategy))


def as_task(scenario: AnyScenario) -> Scenario | InferenceScenario | RelayScenario:
    """Return the scenario that a name, a path, values or a scenario stand for.

    Parameters
    ----------
    scenario
        What :func:`load` takes, or a scenario.
    """
    return load(scenario) if isinstance(scenario, (str, Path, Mapping)) else scenario
