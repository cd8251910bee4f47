"""Do predicted rounds and seconds to a target come true: plans trained at several seeds beside what was predicted.

``python -m benchmarks.progress_truth FOLDER --tasks digits fashion polarity shakespeare --data DATA`` trains the plans
of :mod:`benchmarks.progress_plans` for the tasks of :mod:`benchmarks.progress_tasks` in this process, keeps every curve
in the folder, and goes on where it was stopped. Pilots are run for every combination of partition and server model, on
plans of their own; the constants fitted to them predict the plans, which no pilot saw. It prints, for expected progress
(scaled by the median ratio, which is more than a user has) and for the pilots, rank correlation, median and worst error
of rounds and seconds; what one seed says of the others; and what the plan chosen for the time to the target takes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.progress_curves import Bench
from benchmarks.progress_plans import Case, cases_of
from benchmarks.progress_tasks import FROZEN_TOO, SHARED, TASKS
from hybridsplit.orchestrator.studies.pilot import design_pilots, run_pilots
from hybridsplit.orchestrator.studies.pilot_design import terms_of_plan
from hybridsplit.orchestrator.views.pilot import cost_line, study_lines
from hybridsplit.profiler.options import block_costs, profiled_model
from hybridsplit.profiler.pooled_rounds import pooled_rounds
from hybridsplit.profiler.rounds_fit import RoundsModel
from hybridsplit.profiler.rounds_to import rounds_to
from hybridsplit.profiler.target_gain import terms_of
from hybridsplit.runtime.executors.inline import InlineExecutor
from hybridsplit.scenarios.errors import ProfileError
from hybridsplit.scenarios.pilot_files import write_pilot_file
from hybridsplit.scenarios.schema import PilotConstants
from hybridsplit.scenarios.sections.pilot import CONSTANTS

World = tuple[str, ...]


def world_of(bench: Bench, case: Case) -> World:
    """Return what of a case is no decision of a plan: partition and server model."""
    return tuple(key for key in (bench.task.skewed, SHARED) if key in case.overrides)


def learn(bench: Bench, world: World, target: float, number: int, num_seeds: int) -> PilotConstants | None:
    """Run the pilots of a world, keep their file, and print what they taught; None where too few got to the target."""
    overrides = (*world, FROZEN_TOO, bench.task.batches, f"objective.target_accuracy={target}")
    scenario, options = bench.table(overrides)
    design = design_pilots(scenario, options, number, bench.task.rounds, num_seeds=num_seeds)
    print(f"pilots of {bench.task.name} {' '.join(world)}: {cost_line(design)}", flush=True)
    try:
        study = run_pilots(scenario, options, design, InlineExecutor, bench.folder / f"pilots-{target:g}", _tell)
    except ProfileError as error:
        print(f"  {error}", flush=True)
        return None
    for line in study_lines(study):
        print(f"  {line}", flush=True)
    write_pilot_file(pilot_file(bench, world), study.constants, list(study.runs))
    return study.constants


def pilot_file(bench: Bench, world: World) -> Path:
    """Where the constants of a world are kept."""
    skewed, shared = bench.task.skewed in world, SHARED in world
    return bench.folder / f"pilot{'-skewed' if skewed else ''}{'-shared' if shared else ''}.json"


def _tell(what: str, share: float) -> None:
    print(f"  {what} ({share:.0%})", flush=True)


def predicted(bench: Bench, case: Case, constants: PilotConstants | None) -> float:
    """Rounds to the target by the constants of pilots; infinite where it is never reached, NaN without constants."""
    if constants is None:
        return math.nan
    scenario, options = bench.table(case.overrides)
    costs = block_costs(profiled_model(scenario))
    terms = terms_of(options.table, scenario, costs, constants.client_drift, constants.client_skew)
    model = RoundsModel(constants.rounds, tuple(getattr(constants, name) for name in CONSTANTS), ())
    return model.predict(terms_of_plan(bench.plan(case), options, terms))


def judge(name: str, rounds: np.ndarray, realised: np.ndarray, round_s: np.ndarray, most: int) -> None:
    """Print how well predictions agree with what was realised; rounds beyond those run count as those."""
    shown, truth = np.minimum(rounds, most), np.minimum(realised, most)
    known = np.isfinite(realised)
    factor = np.exp(np.abs(np.log(shown[known] / truth[known])))
    print(
        f"{name}: rank correlation of rounds {spearmanr(shown, truth).statistic:.2f}, of seconds "
        f"{spearmanr(shown * round_s, truth * round_s).statistic:.2f}; of the {known.sum()} that reached the target, "
        f"error {np.median(factor) - 1:.0%} in the median, {factor.max():.2f}x at worst"
    )


def spread_between_seeds(bench: Bench, cases: tuple[Case, ...], seeds: list[int]) -> tuple[float, float]:
    """Mean deviation of the logarithm of rounds between seeds: by one crossing, and by all of the way to the target."""
    found: list[tuple[float, float]] = []
    for target in set(bench.task.targets):
        own = [case for case in cases if bench.target(case) == target]
        pooled = pooled_rounds([bench.curve(c, s) for c in own for s in seeds], target, rising=True)
        by_case = np.log(pooled).reshape(len(own), len(seeds))
        crossings = np.log([realised_of(bench, case, seeds) for case in own])
        known = np.isfinite(by_case).all(axis=1)
        pairs = zip(crossings[known], by_case[known], strict=True)
        found += [(one.std(ddof=1), other.std(ddof=1)) for one, other in pairs]
    return float(np.mean([one for one, _ in found])), float(np.mean([other for _, other in found]))


def realised_of(bench: Bench, case: Case, seeds: list[int]) -> list[float]:
    """Rounds that a case took to its target, by seed."""
    return [rounds_to(bench.curve(case, seed), bench.target(case), rising=True) for seed in seeds]


def choices(bench: Bench, cases: tuple[Case, ...], seconds: Mapping[str, float], seeds: list[int]) -> None:
    """Train the plans chosen for time to the target and for progress, and print them beside the best of the cases."""
    own = bench.task
    for skewed in (False, True):
        world = (own.skewed,) if skewed else ()
        plain, unlike = own.targets
        target = unlike if skewed else plain
        offered = (*world, FROZEN_TOO, own.batches, f"objective.target_accuracy={target}")
        file = pilot_file(bench, world)
        wanted = (*offered, "objective.minimise=time-to-target", f"objective.pilot_file={file}")
        best = min((seconds[case.name], case.name) for case in cases if world_of(bench, case) == world)
        print(f"{own.name}{', skewed' if skewed else ''}: best of the cases {best[1]}, {best[0]:.3g} s")
        suffix = "-skewed" if skewed else ""
        plans = (("for-target", wanted), ("for-progress", offered))
        for name, overrides in plans if file.is_file() else plans[1:]:
            case = Case(f"{name}{suffix}", "optimal", overrides)
            took = realised_of(bench, case, seeds)
            plan = bench.plan(case)
            total_s = plan.round_latency_s * math.exp(np.mean(np.log(took)))
            said = f", predicted {plan.objective_s:.3g} s" if name == "for-target" else ""
            each = " ".join(f"{value:.1f}" for value in took)
            print(f"  {name}: {total_s:.3g} s ({each} rounds{said}), {total_s / best[0]:.2f} of the best of the cases")


def tested(bench: Bench, seeds: list[int], number: int, num_seeds: int) -> None:
    """Train what is missing of a task, and print its figures."""
    cases, most = cases_of(bench.task), bench.task.rounds
    by_seed = np.array([realised_of(bench, case, seeds) for case in cases])
    worlds = {world_of(bench, case): bench.target(case) for case in cases}
    constants = {world: learn(bench, world, target, number, num_seeds) for world, target in worlds.items()}
    # The geometric mean over seeds; a plan that some seed does not bring to the target has not reached it.
    realised = np.exp(np.log(by_seed).mean(axis=1))
    plans = [bench.plan(case) for case in cases]
    round_s = np.array([plan.round_latency_s for plan in plans])
    today = 1.0 / np.array([plan.progress for plan in plans])
    known = np.isfinite(realised)
    today *= math.exp(np.median(np.log(realised[known] / today[known])))
    fitted = np.array([predicted(bench, case, constants[world_of(bench, case)]) for case in cases])
    fitted = np.where(np.isnan(fitted), today, fitted)  # as in planning: without constants, expected progress decides
    print(f"\n{bench.task.name}: rounds to {bench.task.targets} test accuracy, {len(seeds)} seeds")
    print(f"{'plan':26} {'round, s':>9} {'realised':>9} {'by seed':>20} {'today':>7} {'pilots':>7}")
    for case, second, real, own, old, new in zip(cases, round_s, realised, by_seed, today, fitted, strict=True):
        each = " ".join(f"{value:5.1f}" for value in own)
        print(f"{case.name:26} {second:9.3f} {real:9.1f} {each:>20} {old:7.1f} {new:7.1f}")
    judge("expected progress", today, realised, round_s, most)
    judge("pilots", fitted, realised, round_s, most)
    for seed, column in zip(seeds, by_seed.T, strict=True):
        others = np.exp(np.log(np.delete(by_seed, seeds.index(seed), axis=1)).mean(axis=1))
        judge(f"seed {seed} predicted by the other seeds", others, column, round_s, most)
    alone, pooled = spread_between_seeds(bench, cases, seeds)
    print(
        f"between seeds rounds differ by {alone:.0%} by one crossing, by {pooled:.0%} by all of the way to the target"
    )
    seconds = {case.name: float(rounds * s) for case, rounds, s in zip(cases, realised, round_s, strict=True)}
    choices(bench, cases, seconds, seeds)


def main() -> None:
    """Train what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where curves are kept")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=["digits"])
    parser.add_argument("--data", type=Path, help="folder of the third-party data: images/ and text/")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--pilots", type=int, default=10, help="pilots for each partition and server model")
    parser.add_argument("--pilot-seeds", type=int, default=2, help="seeds of every pilot")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    for name in arguments.tasks:
        folder = arguments.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(TASKS[name], TASKS[name].write(folder, arguments.data), folder)
        tested(bench, seeds, arguments.pilots, arguments.pilot_seeds)


if __name__ == "__main__":
    main()
