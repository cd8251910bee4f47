"""Compare strategies on one problem, and say where the difference comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hybridsplit.orchestrator.pipeline import RunSettings
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.errors import InfeasibleError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import compute_bounds, make_plan


def compare_plans(
    scenario: Scenario, options: OptionTable, strategies: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Plan]]:
    """Plan with each strategy.

    Parameters
    ----------
    scenario, options
        The scenario and its option table.
    strategies
        Their names.

    Returns
    -------
    One row a strategy (an infeasible one says why), and the plans that exist. ``ratio`` is time to progress relative to
    ``optimal``, where that is among the strategies.
    """
    bounds = compute_bounds(scenario, options)
    chooses_batch = scenario.training.chooses_batch_size
    rows: list[dict[str, Any]] = []
    plans: dict[str, Plan] = {}
    for strategy in strategies:
        try:
            plan = make_plan(scenario, options, strategy, bounds=bounds)
        except InfeasibleError as error:
            rows.append({"strategy": strategy, "infeasible": str(error).splitlines()[0]})
            continue
        plans[strategy] = plan
        rows.append(
            {
                "strategy": strategy,
                "round_latency_s": plan.round_latency_s,
                "progress": plan.progress,
                "objective_s": plan.objective_s,
                "cuts": _tally(str(c.cut) for c in plan.clients),
                "modes": _tally(str(c.mode) for c in plan.clients),
                **({"batch_sizes": _tally(str(c.batch_size) for c in plan.clients)} if chooses_batch else {}),
            }
        )
    if "optimal" in plans:
        for row in rows:
            if "objective_s" in row:
                row["ratio"] = row["objective_s"] / plans["optimal"].objective_s
    return rows, plans


def decompose_against_uniform(scenario: Scenario, options: OptionTable) -> list[dict[str, Any]]:
    """Round latency from the best uniform cut to the joint plan, one freedom at a time.

    All steps offer the same modes and make at least the progress of the uniform plan, so each gain comes from the
    freedom it names. Empty where no uniform cut is feasible.
    """
    from hybridsplit.solver.explain.decomposition import decompose

    try:
        steps = decompose(scenario, options)
    except InfeasibleError:
        return []
    own = "cut and batch size" if scenario.training.chooses_batch_size else "cut"
    chain = [
        ("splitfed: one cut for all, equal shares", steps.splitfed_s),
        ("+ shares of band and server", steps.shares_s),
        (f"+ a {own} of its own for each client", steps.cuts_s),
        ("+ a mode of its own for each client", steps.modes_s),
    ]
    rows: list[dict[str, Any]] = []
    for position, (name, latency_s) in enumerate(chain):
        before_s = chain[max(position - 1, 0)][1]
        rows.append(
            {
                "step": name,
                "round_latency_s": latency_s,
                "gain": before_s / latency_s,
                "total_gain": chain[0][1] / latency_s,
            }
        )
    return rows


def train_plans(
    scenario: Scenario,
    options: OptionTable,
    plans: Mapping[str, Plan],
    rows: Sequence[dict[str, Any]],
    settings: RunSettings,
    on_progress: Callable[[str, float], None],
) -> None:
    """Train with each plan, and with its frozen control.

    Parameters
    ----------
    scenario, options
        The scenario and its option table.
    plans
        By strategy.
    rows
        Those of :func:`compare_plans`; final accuracies and the simulated time are added to them.
    settings
        Executor, workers and rounds.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].
    """
    from hybridsplit.orchestrator.pipeline import worker_pool
    from hybridsplit.orchestrator.summary import round_ends_s
    from hybridsplit.runtime.replay import replay
    from hybridsplit.runtime.run.rounds import train
    from hybridsplit.scenarios.contracts.assignment import assignments_of, frozen_assignments

    num_rounds = settings.num_rounds or scenario.training.rounds
    with worker_pool(scenario, settings) as executor:
        for position, (strategy, plan) in enumerate(plans.items()):
            on_progress(strategy, position / len(plans))
            ends_s = round_ends_s(replay(plan, scenario, num_rounds=num_rounds))
            assignments = assignments_of(plan, scenario)
            result = train(scenario, assignments, executor, ends_s, options=options, schedule=plan.schedule)
            control = train(scenario, frozen_assignments(assignments), executor, ends_s)
            row = next(row for row in rows if row["strategy"] == strategy)
            row["test_accuracy"] = result.records[-1].test_accuracy
            row["frozen_control_accuracy"] = control.records[-1].test_accuracy
            row["simulated_s"] = ends_s[-1]


def _tally(values: Iterable[str]) -> str:
    counted = Counter(values)
    return ", ".join(
        f"{value} x{count}" for value, count in sorted(counted.items(), key=lambda item: (len(item[0]), item[0]))
    )
