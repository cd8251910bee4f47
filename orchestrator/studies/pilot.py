"""Short pilot runs, and the constants of the model of rounds to a target that fit them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridsplit.orchestrator.studies.pilot_design import Pilot, choose_pilots, terms_of_plan
from hybridsplit.profiler.pooled_rounds import pooled_rounds
from hybridsplit.profiler.rounds_fit import Observation, fit_rounds, held_out_error
from hybridsplit.profiler.rounds_to import reaches
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.errors import ContractError, UsageError
from hybridsplit.scenarios.schema import PilotConstants, Scenario
from hybridsplit.scenarios.scores import ACCURACY, score_for
from hybridsplit.scenarios.sections.pilot import CONSTANTS

if TYPE_CHECKING:
    from hybridsplit.profiler.target_gain import Terms
    from hybridsplit.runtime.executors.base import Executor
    from hybridsplit.runtime.run.records import RoundRecord
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.plan import Plan

WORTH_IT = 0.1
"""Largest share of the simulated seconds of the run it plans that a pilot study should take."""


@dataclass(frozen=True)
class Design:
    """What is about to be run.

    Parameters
    ----------
    pilots
        The plans to try.
    num_rounds
        Most rounds of each; one ends as soon as it has reached the target.
    seconds
        Simulated seconds of all pilots at most.
    of_run
        That over the simulated seconds of the run that is planned, by its best plan for progress.
    drift
        ``ζ²`` of clients, where it matters.
    skew
        ``δ`` of clients: how unlike their labels are to those of all.
    seeds
        Seeds that every pilot is run at, the scenario's own first.
    block_share
        By block, its share of the blocks that have something to train.
    """

    pilots: tuple[Pilot, ...]
    num_rounds: int
    seconds: float
    of_run: float
    drift: Mapping[str, float]
    skew: Mapping[str, float]
    block_share: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def is_worth_it(self) -> bool:
        """Whether the pilots take at most a tenth of the run that they plan."""
        return self.of_run <= WORTH_IT


@dataclass(frozen=True)
class PilotStudy:
    """What the pilots taught.

    Parameters
    ----------
    constants
        The fitted constants.
    runs
        By seed and pilot: its options, terms, curve, and rounds to the target (None if it was not reached).
    """

    constants: PilotConstants
    runs: tuple[dict[str, Any], ...]


def target_of(scenario: Scenario) -> tuple[float, bool]:
    """Return a scenario's target, and whether more of it is better.

    Raises
    ------
    UsageError
        If it states none.
    """
    if (target := scenario.objective.target) is not None:
        return target
    score = score_for(scenario.model.problem_type)
    key = "target_accuracy" if score is ACCURACY else "target_score"
    raise UsageError(
        f"{scenario.name}: objective.{key}: is needed for pilots; state a test {score.label} to be reached, or a "
        f"training loss under objective.target_loss: --set objective.{key}=0.9"
    )


def design_pilots(
    scenario: Scenario,
    options: OptionTable,
    number: int,
    num_rounds: int,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    *,
    num_seeds: int = 1,
) -> Design:
    """Choose pilots, and say what they cost.

    Parameters
    ----------
    scenario, options
        The scenario, for another objective than the target, and its option table.
    number, num_rounds
        Pilots, and most rounds of each.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].
    num_seeds
        Seeds that every pilot is run at.

    Raises
    ------
    InfeasibleError
        If the scenario has no plan.
    UsageError
        If the scenario states no target.
    """
    target_of(scenario)
    terms, drift, skew = _terms(scenario, options)
    on_progress(f"{number} plans to try", 0.5)
    pilots = tuple(choose_pilots(scenario, options, terms, number))
    seconds = math.fsum(pilot.plan.round_latency_s for pilot in pilots) * num_rounds * num_seeds
    whole_s = pilots[0].plan.round_latency_s * scenario.training.rounds
    shares, seeds = tuple(terms.block_share.tolist()), tuple(range(scenario.seed, scenario.seed + num_seeds))
    return Design(pilots, num_rounds, seconds, seconds / whole_s, drift, skew, shares, seeds)


def _terms(scenario: Scenario, options: OptionTable) -> tuple[Terms, Mapping[str, float], Mapping[str, float]]:
    from hybridsplit.profiler.label_skew import client_skew
    from hybridsplit.profiler.options import block_costs, profiled_model
    from hybridsplit.profiler.target_gain import terms_of

    drift: Mapping[str, float] = {}
    if scenario.training.server_model != "per-client":
        from hybridsplit.profiler.client_drift import client_drift

        drift = client_drift(scenario)
    skew = client_skew(scenario)
    return terms_of(options.table, scenario, block_costs(profiled_model(scenario)), drift, skew), drift, skew


def run_pilots(
    scenario: Scenario,
    options: OptionTable,
    design: Design,
    open_executor: Callable[[Scenario], Executor[Any]],
    folder: Path,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> PilotStudy:
    """Run the pilots that have not been run, and fit the constants to all.

    A seed other than the scenario's own deals the data otherwise; a pilot in which a client then has less than a batch
    is not run at it.

    Parameters
    ----------
    scenario, options, design
        The scenario, its option table, and what to run.
    open_executor
        Makes an executor of a scenario, which is entered here: one for every seed.
    folder
        Where the curve of every pilot is kept; those that are there already are not run again.
    on_progress
        Called with what is being done and the share that is done, in [0, 1].

    Raises
    ------
    ContractError
        If a kept curve is damaged.
    ProfileError
        If the pilots give no constants.
    RunError
        If training fails.
    """
    target, rising = target_of(scenario)
    runs: list[dict[str, Any]] = []
    for turn, seed in enumerate(design.seeds):
        own = scenario.model_copy(update={"seed": seed})
        all_terms = [pilot.terms for pilot in design.pilots]
        if seed != scenario.seed:  # another seed deals the data otherwise
            terms, _, _ = _terms(own, options)
            all_terms = [terms_of_plan(pilot.plan, options, terms) for pilot in design.pilots]
        with open_executor(own) as executor:
            for place, pilot in enumerate(design.pilots):
                if turn and not _has_batches(own, pilot.plan):
                    continue
                done = (turn * len(design.pilots) + place) / (len(design.pilots) * len(design.seeds))
                on_progress(f"pilot {place + 1} of {len(design.pilots)}, seed {seed}", done)
                runs.append(
                    {
                        "pilot": place,
                        "seed": seed,
                        "options": [[client.id, *client.key] for client in pilot.plan.clients],
                        "terms": dict(zip(CONSTANTS, all_terms[place], strict=True)),
                        "is_check": pilot.is_check,
                        "curve": _curve(own, pilot.plan, design.num_rounds, executor, folder),
                    }
                )
    all_rounds = pooled_rounds([run["curve"] for run in runs], target, rising=rising)
    for run, rounds in zip(runs, all_rounds, strict=True):
        run["rounds_to_target"] = rounds if math.isfinite(rounds) else None
    return PilotStudy(fitted(scenario, [observation_of(run) for run in runs], design), tuple(runs))


def _has_batches(scenario: Scenario, plan: Plan) -> bool:
    """Whether every client has data for one batch of its plan, as another seed deals them."""
    from hybridsplit.runtime.data.partition import partition
    from hybridsplit.runtime.data.sources import load_dataset

    dealt = partition(load_dataset(scenario).train, scenario)
    return all(len(dealt[client.id]) >= client.batch_size for client in plan.clients)


def observation_of(run: Mapping[str, Any]) -> Observation:
    """Return what the fit needs of a run of a pilot.

    Parameters
    ----------
    run
        As in :attr:`PilotStudy.runs`.
    """
    rounds = math.inf if run["rounds_to_target"] is None else run["rounds_to_target"]
    terms = tuple(run["terms"][name] for name in CONSTANTS)
    return Observation(terms, rounds, len(run["curve"]), run["is_check"], run["pilot"])


def fitted(scenario: Scenario, observations: Sequence[Observation], design: Design) -> PilotConstants:
    """Fit the constants, with their held-out error.

    Parameters
    ----------
    scenario
        What they are fitted for.
    observations
        What the pilots were and reached.
    design
        Their design.

    Raises
    ------
    ProfileError
        If the pilots give no constants.
    """
    model = fit_rounds(observations)
    error = held_out_error(observations)
    return PilotConstants(
        formula=2,
        target_accuracy=scenario.objective.target_accuracy,
        target_score=scenario.objective.target_score,
        target_loss=scenario.objective.target_loss,
        rounds=model.rounds,
        not_identified=model.not_identified,  # type: ignore[arg-type]
        held_out_error=error,
        num_pilots=len(design.pilots),
        num_seeds=len(design.seeds),
        block_share=design.block_share,
        client_drift=dict(design.drift),
        client_skew=dict(design.skew),
        fitted_for=scenario.convergence_facts(),
        **dict(zip(CONSTANTS, model.constants, strict=True)),
    )


class _Enough(Exception):
    """Ends a pilot that has reached the target."""


def _curve(scenario: Scenario, plan: Plan, num_rounds: int, executor: Executor[Any], folder: Path) -> list[float]:
    """Return the target's figure by round, kept or made now."""
    from hybridsplit.runtime.run.rounds import train
    from hybridsplit.scenarios.contracts.assignment import assignments_of

    target, rising = target_of(scenario)
    facts = [plan.scenario_hash, scenario.seed, num_rounds, [[c.id, *c.key] for c in plan.clients]]
    file = folder / f"pilot-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.json"
    if file.is_file():
        return _kept(file)
    curve: list[float] = []

    def note(record: RoundRecord) -> None:
        value = record.test_score if rising else record.train_loss
        curve.append(float("inf") if value is None else value)
        if reaches(curve, target, rising=rising):
            raise _Enough

    with contextlib.suppress(_Enough):
        train(scenario, assignments_of(plan, scenario), executor, num_rounds, schedule=plan.schedule, on_round=note)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_whole(file, json.dumps(curve) + "\n")
    return curve


def _kept(file: Path) -> list[float]:
    try:
        curve = json.loads(file.read_text(encoding="utf-8"))
        return [float(value) for value in curve]
    except (OSError, ValueError, TypeError) as error:
        raise ContractError(
            f"{file}: damaged: needs a list of numbers; remove it, and the pilot is run again"
        ) from error
