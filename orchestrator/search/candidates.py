"""Every model that a scenario offers, with the scenario that trains it, its plan, and its scores before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.planned import plan_as_asked
from hybridsplit.profiler.options import build_options, profiled_model
from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError, UsageError
from hybridsplit.scenarios.loader import scenario_of_values
from hybridsplit.scenarios.model_variants import NamedModel, named_models
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    from hybridsplit.profiler.untrained_scores import UntrainedScores
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.plan import Plan


@dataclass(frozen=True)
class Candidate:
    """A model, and what training it takes.

    Parameters
    ----------
    model
        The model.
    scenario
        The scenario with it in place of its own.
    options, plan
        Its option table and plan; None where there is no plan.
    infeasible
        Why there is no plan; empty where there is one.
    scores
        How it is judged before training; None where nothing asked for that.
    """

    model: NamedModel
    scenario: Scenario
    options: OptionTable | None
    plan: Plan | None
    infeasible: str = ""
    scores: UntrainedScores | None = None

    @property
    def name(self) -> str:
        """Of the model."""
        return self.model.name


def candidates_of(
    scenario: Scenario,
    strategy: str,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    *,
    scores: bool,
) -> tuple[Candidate, ...]:
    """Plan for every model that a scenario's variants stand for.

    Parameters
    ----------
    scenario
        The scenario.
    strategy
        How to plan.
    on_progress
        Called with what is being done and the share that is done.
    scores
        Whether to judge the models whose test score is not known.

    Raises
    ------
    UsageError
        If the scenario has no variants, or minimises what is known of its own model alone.
    ScenarioError, ProfileError
        If a variant cannot be built or profiled; the message names it.
    SolverFailure
        If a solver stopped.
    """
    models = named_models(scenario.model, scenario.variants)
    if not models:
        raise UsageError(
            f"{scenario.name}: has no models to choose from; list them under 'variants', for example "
            "variants: [{variant: grid, width: [0.5, 1], depth: [0.5, 1]}]"
        )
    if scenario.objective.minimise == "time-to-target":
        raise UsageError(
            "objective.minimise: time-to-target rests on pilots of one model, and a search has several; minimise "
            "round-latency or time-to-progress, for example --set objective.minimise=round-latency"
        )
    # All are built before the first is profiled: a wrong one is found in a second.
    scenarios = [scenario_with(scenario, model) for model in models]
    found = []
    for place, (model, own) in enumerate(zip(models, scenarios, strict=True)):
        on_progress(f"{model.name} ({place + 1} of {len(models)})", place / len(models))
        found.append(_candidate(model, own, strategy, scores=scores and model.test_score is None))
    return tuple(found)


def scenario_with(scenario: Scenario, model: NamedModel) -> Scenario:
    """Return a scenario with another model in place of its own.

    Parameters
    ----------
    scenario
        The scenario.
    model
        The model.

    Raises
    ------
    ScenarioError
        If the model's configuration is refused.
    """
    own = scenario.model
    if own.config is not None:
        changed = own.model_copy(update={"config": {**own.config, **model.config}})
        if (model.depth, model.width, model.kernel) != (1.0, 1.0, 1.0):
            from hybridsplit.runtime.models.scaled_config import scaled_config  # late: transformers

            with _about(model):
                scaled = scaled_config(changed, depth=model.depth, width=model.width, kernel=model.kernel)
            changed = changed.model_copy(update={"config": scaled})
    elif own.python is not None:
        changed = own.model_copy(update={"arguments": {**own.arguments, **model.arguments}})
    else:
        changed = own.model_copy(update={"checkpoint": model.checkpoint or own.checkpoint})
    values = scenario.resolved() | {"model": changed.model_dump(mode="json"), "variants": [], "device_files": []}
    with _about(model):
        return scenario_of_values(values, {"name": f"{scenario.name}-{model.name}"[:64]})


@contextmanager
def _about(model: NamedModel) -> Iterator[None]:
    """Name a variant in front of what is wrong with it."""
    try:
        yield
    except ScenarioError as error:
        raise ScenarioError(f"variant {model.name}: {error}") from error


def _candidate(model: NamedModel, scenario: Scenario, strategy: str, *, scores: bool) -> Candidate:
    with _about(model):
        profile = profiled_model(scenario)
        options = build_options(scenario, profile)
    try:
        plan = plan_as_asked(scenario, options, strategy)
    except InfeasibleError as error:
        return Candidate(model, scenario, None, None, infeasible=str(error))
    if not scores:
        return Candidate(model, scenario, options, plan)
    from hybridsplit.profiler.untrained_scores import untrained_scores

    with _about(model):
        return Candidate(model, scenario, options, plan, scores=untrained_scores(scenario, profile))
