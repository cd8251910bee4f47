"""Compare strategies on one problem, and say where the difference comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from scenarios.contracts.options import OptionTable
from scenarios.contracts.plan import Plan
from scenarios.errors import InfeasibleError
from scenarios.schema import Scenario
from solver.planner import make_plan


def compare_plans(scenario: Scenario, options: OptionTable, strategies: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Plan]]:
    """Plan with each strategy.

    Returns
    -------
    One row a strategy (an infeasible one says why), and the plans that exist. ``ratio`` is time to progress relative to
    ``optimal``, where that is among the strategies.
    """
    rows: list[dict[str, Any]] = []
    plans: dict[str, Plan] = {}
    for strategy in strategies:
        try:
            plan = make_plan(scenario, options, strategy)
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
            }
        )
    if "optimal" in plans:
        for row in rows:
            if "objective_s" in row:
                row["ratio"] = row["objective_s"] / plans["optimal"].objective_s
    return rows, plans


def _tally(values: Any) -> str:
    counted = Counter(values)
    return ", ".join(f"{value} x{count}" for value, count in sorted(counted.items(), key=lambda item: (len(item[0]), item[0])))
