"""Do predicted rounds and seconds to a target come true: plans trained at several seeds beside what was predicted.

``python -m benchmarks.progress_truth FOLDER`` trains the plans of :mod:`benchmarks.progress_plans` in this process,
keeps every curve in the folder, and goes on where it was stopped. Pilots are run for every combination of partition and
server model, at seed 0 and on plans of their own; the constants fitted to them predict the 24 plans that no pilot saw.
It prints, for today's model (expected progress, scaled by the median ratio, which is more than a user has) and for that
of the pilots, rank correlation, median and worst error of rounds and seconds, and the model's terms in words.
"""

from __future__ import annotations

import argparse
import json
import math
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.progress_plans import BATCHES, CASES, FROZEN_TOO, SHARED, SKEWED, Case
from hybridsplit.orchestrator.studies.pilot import design_pilots, run_pilots
from hybridsplit.orchestrator.studies.pilot_design import plan_terms
from hybridsplit.orchestrator.views.pilot import cost_line, study_lines
from hybridsplit.profiler.options import block_costs, profile_scenario, profiled_model
from hybridsplit.profiler.rounds_fit import RoundsModel
from hybridsplit.profiler.rounds_to import rounds_to
from hybridsplit.profiler.target_gain import terms_of
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.runtime.run.records import RoundRecord
from hybridsplit.runtime.run.rounds import train
from hybridsplit.scenarios.contracts.assignment import assignments_of
from hybridsplit.scenarios.contracts.options import OPTION_KEY, OptionTable
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.loader import load_scenario
from hybridsplit.scenarios.schema import PilotConstants, Scenario
from hybridsplit.scenarios.sections.pilot import CONSTANTS
from hybridsplit.solver.planner import make_plan

ROUNDS = 30
ENOUGH = 0.968
"""Accuracy in two rounds one after another that ends a run: no target is above it."""


class _Enough(Exception):
    """Ends a run that has shown all it can."""


@cache
def table_of(overrides: tuple[str, ...]) -> tuple[Scenario, OptionTable]:
    """Load and profile quickstart with some keys changed."""
    scenario = load_scenario("quickstart", list(overrides))
    return scenario, profile_scenario(scenario)


def plan_of(case: Case, folder: Path) -> Plan:
    """Return the plan of a case, kept or made now."""
    file = folder / f"{case.name}.plan.json"
    if file.is_file():
        return Plan.load(file)
    plan = make_plan(*table_of(case.overrides), case.strategy)
    plan.save(file)
    return plan


def curve_of(case: Case, seed: int, folder: Path) -> list[float]:
    """Return test accuracy by round, kept or made now."""
    file = folder / f"{case.name}.{seed}.json"
    if not file.is_file():
        plan = plan_of(case, folder)
        scenario = load_scenario("quickstart", [*case.overrides, f"seed={seed}"])
        records: list[tuple[float | None, float]] = []

        def note(record: RoundRecord) -> None:
            records.append((record.train_loss, record.test_accuracy))
            if len(records) > 1 and min(accuracy for _, accuracy in records[-2:]) >= ENOUGH:
                raise _Enough

        with InlineExecutor(scenario) as executor, suppress(_Enough):
            train(scenario, assignments_of(plan, scenario), executor, ROUNDS, schedule=plan.schedule, on_round=note)
        file.write_text(json.dumps(records), encoding="utf-8")
        print(f"{case.name} seed {seed}: {len(records)} rounds, best {max(a for _, a in records):.1%}", flush=True)
    return [accuracy for _, accuracy in json.loads(file.read_text(encoding="utf-8"))]


def world_of(case: Case) -> tuple[str, ...]:
    """Return what of a case is no decision of a plan: partition and server model."""
    return tuple(key for key in (SKEWED, SHARED) if key in case.overrides)


def learn(world: tuple[str, ...], target: float, number: int, folder: Path) -> PilotConstants:
    """Run the pilots of a world, and print what they taught."""
    overrides = (*world, FROZEN_TOO, BATCHES, f"objective.target_accuracy={target}")
    scenario, options = table_of(overrides)
    design = design_pilots(scenario, options, number, ROUNDS)
    print(f"pilots of quickstart {' '.join(world)}: {cost_line(design)}", flush=True)
    with InlineExecutor(scenario) as executor:
        study = run_pilots(scenario, design, executor, folder / f"pilots-{target:g}")
    for line in study_lines(study):
        print(f"  {line}", flush=True)
    return study.constants


def predicted(case: Case, plan: Plan, constants: PilotConstants) -> float:
    """Rounds to the target by the constants of pilots; infinite where it is never reached."""
    scenario, options = table_of(case.overrides)
    terms = terms_of(options.table, scenario, block_costs(profiled_model(scenario)), constants.client_drift)
    places = {key: row for row, key in enumerate(zip(*(options.table[c].tolist() for c in OPTION_KEY), strict=True))}
    own = plan_terms(terms, [places[(client.id, *client.key)] for client in plan.clients])
    model = RoundsModel(constants.rounds, tuple(getattr(constants, name) for name in CONSTANTS), ())
    return model.predict(own)


def judge(name: str, rounds: np.ndarray, realised: np.ndarray, round_s: np.ndarray) -> None:
    """Print how well predictions agree with what was realised; rounds beyond those run count as those."""
    shown, truth = np.minimum(rounds, ROUNDS), np.minimum(realised, ROUNDS)
    known = np.isfinite(realised)
    factor = np.exp(np.abs(np.log(shown[known] / truth[known])))
    print(
        f"{name}: rank correlation of rounds {spearmanr(shown, truth).statistic:.2f}, of seconds "
        f"{spearmanr(shown * round_s, truth * round_s).statistic:.2f}; of the {known.sum()} that reached the target, "
        f"error {np.median(factor) - 1:.0%} in the median, {factor.max():.2f}x at worst"
    )


def main() -> None:
    """Train what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where curves are kept")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--target", type=float, default=0.9, help="test accuracy where clients have alike data")
    parser.add_argument("--skewed-target", type=float, default=0.8, help="test accuracy where their data are skewed")
    parser.add_argument("--pilots", type=int, default=10, help="pilots for each partition and server model")
    arguments = parser.parse_args()
    folder, plain, skewed = arguments.folder, arguments.target, arguments.skewed_target
    targets = [skewed if SKEWED in case.overrides else plain for case in CASES]
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    plans = [plan_of(case, folder) for case in CASES]
    by_seed = np.array(
        [
            [rounds_to(curve_of(c, s, folder), t, rising=True) for s in seeds]
            for c, t in zip(CASES, targets, strict=True)
        ]
    )
    worlds = {world_of(case): target for case, target in zip(CASES, targets, strict=True)}
    constants = {world: learn(world, target, arguments.pilots, folder) for world, target in worlds.items()}
    # The geometric mean over seeds; a plan that some seed does not bring to the target has not reached it.
    realised = np.exp(np.log(by_seed).mean(axis=1))
    round_s = np.array([plan.round_latency_s for plan in plans])
    today = 1.0 / np.array([plan.progress for plan in plans])
    known = np.isfinite(realised)
    today *= math.exp(np.median(np.log(realised[known] / today[known])))
    fitted = np.array([predicted(c, p, constants[world_of(c)]) for c, p in zip(CASES, plans, strict=True)])
    print(f"\nrounds to {plain:.0%} test accuracy ({skewed:.0%} where data are skewed), {len(seeds)} seeds")
    print(f"{'plan':26} {'realised':>9} {'by seed':>20} {'today':>7} {'pilots':>7}")
    for case, real, own, old, new in zip(CASES, realised, by_seed, today, fitted, strict=True):
        each = " ".join(f"{value:5.1f}" for value in own)
        print(f"{case.name:26} {real:9.1f} {each:>20} {old:7.1f} {new:7.1f}")
    judge("expected progress", today, realised, round_s)
    judge("pilots", fitted, realised, round_s)
    for seed, column in zip(seeds, by_seed.T, strict=True):
        others = np.exp(np.log(np.delete(by_seed, seeds.index(seed), axis=1)).mean(axis=1))
        judge(f"seed {seed} predicted by the other seeds", others, column, round_s)


if __name__ == "__main__":
    main()
