"""Plans to be trained at seeds: kept ones are read, the others are trained, several at a time on Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hybridsplit.orchestrator.studies.over_seeds.runs import SeedRun, WantedRun, keep_run, kept_run, run_file

if TYPE_CHECKING:
    from hybridsplit.orchestrator.pipeline import RunSettings
    from hybridsplit.orchestrator.training import OnRound
    from hybridsplit.runtime.run.records import RoundDone

OnRoundsOf: TypeAlias = "Callable[[WantedRun], OnRound]"
"""What to call after every round of a run."""
_LOOK_S = 60.0
_REMEDY = "runs that ended are kept: the same command goes on from there"


def train_wanted(
    wanted: Sequence[WantedRun],
    settings: RunSettings,
    folder: Path,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    on_rounds_of: OnRoundsOf = lambda one: lambda run, done: None,
) -> list[SeedRun]:
    """Return every run; those that the folder holds are not run again.

    On Ray, as many runs go on at a time as there are workers, each in one process; it does not decide a bit. Fewer runs
    than workers go one after another over all workers, and so do runs of a scenario that binds clients to devices or
    watches for those that hang.

    Parameters
    ----------
    wanted
        What is to be trained.
    settings
        Executor, workers and rounds.
    folder
        Where every run is kept.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].
    on_rounds_of
        By run, what to call after every round of its training: at once, or when a run that is one of several ended.

    Raises
    ------
    BudgetExceededError, RunError
        If a client exceeds its budget or training fails.
    ContractError
        If a kept run is damaged.
    """
    files = [run_file(folder, one, settings) for one in wanted]
    missing = [(one, file) for one, file in zip(wanted, files, strict=True) if not file.is_file()]
    if _go_side_by_side([one for one, _ in missing], settings):
        _train_side_by_side(missing, settings, on_progress, on_rounds_of)
    else:
        _train_in_turn(missing, settings, on_progress, on_rounds_of)
    return [kept_run(file) for file in files]


def _go_side_by_side(missing: Sequence[WantedRun], settings: RunSettings) -> bool:
    if settings.executor != "ray" or len(missing) < max(2, settings.num_workers):
        return False
    return not any(one.needs_processes for one in missing)


def _train_in_turn(
    missing: Sequence[tuple[WantedRun, Path]],
    settings: RunSettings,
    on_progress: Callable[[str, float], None],
    on_rounds_of: OnRoundsOf,
) -> None:
    done = 0
    for scenario, group in groupby(missing, key=lambda pair: pair[0].scenario):
        own = list(group)
        with own[0][0].executor(settings) as executor:
            for one, file in own:
                on_progress(f"{one.name}, seed {scenario.seed}, {done + 1} of {len(missing)}", done / len(missing))
                keep_run(one.train(executor, settings, on_rounds_of(one)), file)
                done += 1


def _train_side_by_side(
    missing: Sequence[tuple[WantedRun, Path]],
    settings: RunSettings,
    on_progress: Callable[[str, float], None],
    on_rounds_of: OnRoundsOf,
) -> None:
    """Train each run by a task of Ray; what ended is kept as it ends.

    Raises
    ------
    BudgetExceededError, RunError
        If training fails, or Ray's processes die.
    """
    import ray

    from hybridsplit.runtime.executors.ray_cluster import RayCluster, errors_of_workers
    from hybridsplit.runtime.executors.ray_places import Places
    from hybridsplit.runtime.executors.ray_waiting import first_of, result_of
    from hybridsplit.runtime.split.compute import COMPUTE_DEVICES

    with RayCluster(settings.address, settings.num_workers):
        places = Places.of(COMPUTE_DEVICES[settings.torch_device], settings.num_workers)
        task = ray.remote(num_cpus=1, num_gpus=places.gpu_share)(_train)
        at_work = {task.remote(one, settings): (one, file) for one, file in missing}
        while at_work:
            done = len(missing) - len(at_work)
            on_progress(f"{done} of {len(missing)} runs ended", done / len(missing))
            for ref in first_of(list(at_work), _LOOK_S, "a run of the study", _REMEDY)[0]:
                one, file = at_work.pop(ref)
                with errors_of_workers(_REMEDY):
                    run, rounds = result_of(ref, f"{one.name} at seed {one.scenario.seed}", _REMEDY)
                keep_run(run, file)
                for which, record in rounds:
                    on_rounds_of(one)(which, record)


def _train(one: WantedRun, settings: RunSettings) -> tuple[SeedRun, list[tuple[str, RoundDone]]]:
    """Train in this process; return the run, and its rounds as they were told."""
    rounds: list[tuple[str, Any]] = []
    with one.executor_here(settings) as executor:
        run = one.train(executor, settings, lambda which, done: rounds.append((which, done)))
    return run, rounds
