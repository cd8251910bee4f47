"""Compare strategies on one problem, and say where the difference comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import ScoredBesideControl, scores_of
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import score_called
from hybridsplit.solver.planner import compute_bounds, make_plan
from hybridsplit.solver.strategies import Strategy, find_strategy

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.orchestrator.training import OnRound


class ComparedStrategy(ScoredBesideControl):
    """What one strategy comes to. Figures are None where it has no plan, and of training where nothing was trained."""

    strategy: str
    objective: str | None = None
    """What its plan minimises."""
    infeasible: str | None = None
    """Why it has no plan."""
    round_latency_s: float | None = None
    progress: float | None = None
    objective_s: float | None = None
    ratio: float | None = None
    """Objective relative to that of ``optimal``, where that is among the strategies."""
    cuts: str | None = None
    modes: str | None = None
    batch_sizes: str | None = None
    """How often each was chosen; None where they are no choice."""
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    test_r2: float | None = None
    """After the last round, by ``model.problem_type``."""
    frozen_control_accuracy: float | None = None
    frozen_control_macro_f1: float | None = None
    frozen_control_r2: float | None = None
    simulated_s: float | None = None


class DecompositionStep(FrozenValue):
    """One freedom on the way from the best uniform cut to the joint plan."""

    step: str
    round_latency_s: float
    gain: float
    """By this freedom alone."""
    total_gain: float
    """By all so far."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Strategies side by side.

    Parameters
    ----------
    scenario
        Name of the scenario.
    rows
        One a strategy, in the order asked for.
    plans
        The plans that exist, by strategy.
    steps
        Where the gain over the best uniform cut comes from; empty where no uniform cut is feasible.
    """

    scenario: str
    rows: tuple[ComparedStrategy, ...]
    plans: Mapping[str, Plan]
    steps: tuple[DecompositionStep, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a strategy, columns as the fields of :class:`ComparedStrategy`."""
        import pandas as pd

        return pd.DataFrame([row.model_dump() for row in self.rows])

    def document(self) -> dict[str, Any]:
        """Return it as JSON values; what there is no figure for is left out."""
        return {
            "scenario": self.scenario,
            "strategies": [row.model_dump(mode="json", exclude_none=True) for row in self.rows],
            "decomposition": [step.model_dump(mode="json") for step in self.steps],
        }

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.views.notebook import fragment
        from hybridsplit.orchestrator.views.tables import comparison_table, decomposition_table

        return fragment(comparison_table(self.rows), decomposition_table(self.steps))

    def __repr__(self) -> str:
        """Return the strategies from the best to the worst."""
        known = sorted((r for r in self.rows if r.objective_s is not None), key=lambda r: r.objective_s or 0.0)
        named = [f"{r.strategy} {r.ratio:.2f}x" if r.ratio is not None else r.strategy for r in known]
        named += [f"{r.strategy} infeasible" for r in self.rows if r.infeasible is not None]
        return f"Comparison of {self.scenario}: {', '.join(named)}"


def compare_plans(
    scenario: Scenario,
    options: OptionTable,
    strategies: Sequence[str | Strategy],
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> Comparison:
    """Plan with each strategy.

    Parameters
    ----------
    scenario, options
        The scenario and its option table.
    strategies
        Their names, or strategies themselves.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].

    Raises
    ------
    UsageError
        If there is no strategy of a name.
    InfeasibleError
        If the scenario has no plan at all.
    """
    chosen = [find_strategy(strategy) for strategy in strategies]
    on_progress(f"bounds, {scenario.num_clients} clients", 0.0)
    bounds = compute_bounds(scenario, options)
    rows: list[ComparedStrategy] = []
    plans: dict[str, Plan] = {}
    for position, strategy in enumerate(chosen):
        on_progress(f"{strategy.name}, {position + 1} of {len(chosen)}", position / len(chosen))
        try:
            plan = make_plan(scenario, options, strategy, bounds=bounds)
        except InfeasibleError as error:
            rows.append(ComparedStrategy(strategy=strategy.name, infeasible=str(error).splitlines()[0]))
            continue
        plans[strategy.name] = plan
        rows.append(_row(plan, chooses_batch=scenario.training.chooses_batch_size))
    best = plans.get("optimal")
    if best is not None:
        rows = [
            row if row.objective_s is None else row.model_copy(update={"ratio": row.objective_s / best.objective_s})
            for row in rows
        ]
    return Comparison(scenario.name, tuple(rows), plans, decompose_against_uniform(scenario, options))


def _row(plan: Plan, *, chooses_batch: bool) -> ComparedStrategy:
    return ComparedStrategy(
        strategy=plan.strategy,
        objective=plan.objective,
        round_latency_s=plan.round_latency_s,
        progress=plan.progress,
        objective_s=plan.objective_s,
        cuts=_tally(str(c.cut) for c in plan.clients),
        modes=_tally(str(c.mode) for c in plan.clients),
        batch_sizes=_tally(str(c.batch_size) for c in plan.clients) if chooses_batch else None,
    )


def decompose_against_uniform(scenario: Scenario, options: OptionTable) -> tuple[DecompositionStep, ...]:
    """Round latency from the best uniform cut to the joint plan, one freedom at a time.

    All steps offer the same modes and make at least the progress of the uniform plan, so each gain comes from the
    freedom it names. Empty where no uniform cut is feasible.
    """
    from hybridsplit.solver.explain.decomposition import decompose

    try:
        steps = decompose(scenario, options)
    except InfeasibleError:
        return ()
    own = "cut and batch size" if scenario.training.chooses_batch_size else "cut"
    chain = [
        ("splitfed: one cut for all, equal shares", steps.splitfed_s),
        ("+ shares of band and server", steps.shares_s),
        (f"+ a {own} of its own for each client", steps.cuts_s),
        ("+ a mode of its own for each client", steps.modes_s),
    ]
    first_s = chain[0][1]
    return tuple(
        DecompositionStep(
            step=name, round_latency_s=latency_s, gain=before_s / latency_s, total_gain=first_s / latency_s
        )
        for (name, latency_s), before_s in zip(chain, [first_s, *(s for _, s in chain)], strict=False)
    )


def train_plans(
    scenario: Scenario,
    options: OptionTable,
    comparison: Comparison,
    settings: RunSettings,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    on_rounds_of: Callable[[Plan, str], OnRound] = lambda plan, name: lambda run, done: None,
) -> Comparison:
    """Train with each plan, and with its frozen control; return the comparison with accuracies and simulated time.

    Parameters
    ----------
    scenario, options
        The scenario and its option table.
    comparison
        Of :func:`compare_plans`.
    settings
        Executor, workers and rounds.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].
    on_rounds_of
        By plan and strategy, what to call after every round of its training.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    """
    from hybridsplit.orchestrator.pipeline import worker_pool
    from hybridsplit.orchestrator.training import train_by_plan

    num_rounds = settings.num_rounds or scenario.training.rounds
    trained_rows: dict[str, dict[str, float | None]] = {}
    plans = comparison.plans
    with worker_pool(scenario, settings) as executor:
        for position, (strategy, plan) in enumerate(plans.items()):
            on_progress(f"{strategy}, {position + 1} of {len(plans)}", position / len(plans))
            trained = train_by_plan(
                plan, scenario, options, executor, num_rounds, _unheard, with_control=True,
                on_round=on_rounds_of(plan, strategy),
            )  # fmt: skip
            last = trained.result.records[-1]
            frozen = None if trained.control is None else trained.control.records[-1].test_score
            scores = scores_of(score_called(last.score), last.test_score, frozen)
            trained_rows[strategy] = scores | {"simulated_s": last.simulated_s}
    rows = tuple(row.model_copy(update=trained_rows.get(row.strategy, {})) for row in comparison.rows)
    return replace(comparison, rows=rows)


def _unheard(what: str, share: float) -> None:
    """Show nothing: the progress of a comparison is told by strategy."""


def _tally(values: Iterable[str]) -> str:
    counted = Counter(values)
    return ", ".join(
        f"{value} x{count}" for value, count in sorted(counted.items(), key=lambda item: (len(item[0]), item[0]))
    )
