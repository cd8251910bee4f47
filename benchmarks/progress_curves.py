"""Plans and curves of the benchmark of rounds to a target: made once, and kept in a folder."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.progress_plans import Case
from benchmarks.progress_tasks import Task
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.profiler.rounds_to import reaches
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.records import RoundRecord
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.solver.planner import make_plan


class _Reached(Exception):
    """Ends a run that has reached its target."""


@cache
def table_of(path: str, overrides: tuple[str, ...]) -> tuple[Scenario, OptionTable]:
    """Load and profile a scenario with some keys changed."""
    scenario = load_scenario(path, list(overrides))
    return scenario, profile_scenario(scenario)


@dataclass(frozen=True)
class Bench:
    """One task at work.

    Parameters
    ----------
    task
        The task.
    path
        Its scenario.
    folder
        Where its plans and curves are kept.
    """

    task: Task
    path: str
    folder: Path

    def table(self, overrides: tuple[str, ...]) -> tuple[Scenario, OptionTable]:
        """Return the scenario with some keys changed, and its option table."""
        return table_of(self.path, overrides)

    def target(self, case: Case) -> float:
        """Test accuracy that a case is to reach."""
        plain, skewed = self.task.targets
        return skewed if self.task.skewed in case.overrides else plain

    def plan(self, case: Case) -> Plan:
        """Return the plan of a case, kept or made now."""
        file = self.folder / f"{case.name}.plan.json"
        if file.is_file():
            return Plan.load(file)
        plan = make_plan(*self.table(case.overrides), case.strategy)
        plan.save(file)
        return plan

    def curve(self, case: Case, seed: int) -> list[float]:
        """Return test accuracy by round up to the target, kept or made now."""
        file = self.folder / f"{case.name}.{seed}.json"
        target = self.target(case)
        if file.is_file():
            kept: list[float] = json.loads(file.read_text(encoding="utf-8"))
            return kept
        plan = self.plan(case)
        scenario = load_scenario(self.path, [*case.overrides, f"seed={seed}"])
        curve: list[float] = []

        def note(record: RoundRecord) -> None:
            curve.append(record.test_score)
            if reaches(curve, target, rising=True):
                raise _Reached

        with InlineExecutor(scenario) as executor, suppress(_Reached):
            rounds = self.task.rounds
            train(scenario, assignments_of(plan, scenario), executor, rounds, schedule=plan.schedule, on_round=note)
        file.write_text(json.dumps(curve), encoding="utf-8")
        print(f"{self.task.name}: {case.name} seed {seed}: {len(curve)} rounds, best {max(curve):.1%}", flush=True)
        return curve
