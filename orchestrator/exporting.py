"""A trained model out of a run folder, as files that transformers, PEFT and PyTorch load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hybridsplit.orchestrator.relays.detect import is_relay_plan
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.writing import writing_to
from hybridsplit.scenarios.contracts.assignment import Assignment, assignments_of, relay_assignments_of
from hybridsplit.scenarios.contracts.schedule import Schedule, Simultaneous
from hybridsplit.scenarios.contracts.sealed import write_sealed
from hybridsplit.scenarios.errors import UsageError
from hybridsplit.scenarios.relays.loading import single_cut, validate_relays
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import ACCURACY, Score, score_for

if TYPE_CHECKING:
    from hybridsplit.orchestrator.results import Run

EXPORT_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Exported:
    """A model that was exported.

    Parameters
    ----------
    path
        The folder.
    rounds
        Rounds it was trained for.
    test_score, score
        Its score of the test data, and which one that is.
    loads_with
        Python expression that loads it, with ``folder`` for the path; ``model`` is a module of the user's own.
    """

    path: Path
    rounds: int
    test_score: float
    loads_with: str
    score: Score = ACCURACY

    @property
    def test_accuracy(self) -> float | None:
        """The score where it is accuracy; None elsewhere."""
        return self.test_score if self.score is ACCURACY else None


def export(run: Run | str | Path, to: str | Path, *, round: int | str = "best") -> Exported:  # noqa: A002
    """Write the trained model of a run into a folder, for ``from_pretrained`` or ``load_state_dict``.

    Parameters
    ----------
    run
        A run, or its folder; it may have stopped before its last round.
    to
        A folder that does not exist, or is empty.
    round
        ``best``, the highest score of the test data; ``last``; or a number of rounds, of those whose checkpoints are
        kept.

    Raises
    ------
    UsageError
        If the folder holds something, or ``round`` is nothing of the kind.
    AlteredError, ContractError
        If the run is not as it was written, or has no checkpoint of the round.
    RunError
        If the folder cannot be written, or what was saved does not load to the same bits.
    """
    source = RunFolder(Path(run if isinstance(run, (str, Path)) else run.path).resolve())
    folder = Path(to).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: holds something already; give a folder that does not exist with --to")
    scenario, assignments, schedule = _trained_by(source)
    from hybridsplit.runtime.data.sources import whole_model
    from hybridsplit.runtime.executors.state_files import load_states
    from hybridsplit.runtime.models.saved import save_trained
    from hybridsplit.runtime.run.assignments import plan_fingerprint
    from hybridsplit.runtime.run.checkpoint import best_round, kept_rounds, open_round
    from hybridsplit.runtime.split.parts import SplitModel

    fingerprint = plan_fingerprint(scenario, assignments, schedule)
    kept = kept_rounds(source.checkpoints)
    number = _number(round, kept, source)
    checkpoint, (state, _) = open_round(source.checkpoints, fingerprint, number, load_states)
    if round == "best" and (best := best_round(checkpoint.records)) != number:
        number = best
        checkpoint, (state, _) = open_round(source.checkpoints, fingerprint, number, load_states)
    model, blocks = whole_model(scenario)
    SplitModel(blocks).whole.load(state)
    with writing_to(folder, "the run is as it was: free some space or make it writable"):
        folder.mkdir(parents=True, exist_ok=True)
        loads_with = save_trained(model.eval(), scenario, folder, _label_names(scenario))
        reached, score = checkpoint.records[-1].test_score, score_for(scenario.model.problem_type)
        document = {
            "schema_version": EXPORT_SCHEMA_VERSION,
            "scenario": scenario.name,
            "scenario_hash": scenario.content_hash(),
            "rounds": number,
            score.column: reached,
            "loads_with": loads_with,
        }
        write_sealed(folder / "export.json", document)
    return Exported(folder, number, reached, loads_with, score)


def _trained_by(source: RunFolder) -> tuple[Scenario, tuple[Assignment, ...], Schedule]:
    """Scenario, assignments and schedule of a run over one cut or over several."""
    if is_relay_plan(source.path):
        relay_plan = source.relay_plan()
        single = single_cut(validate_relays(relay_plan.scenario, f"{source.path}: plan.json: scenario"))
        return single, relay_assignments_of(relay_plan, single), Simultaneous()
    plan, scenario = source.plan_and_scenario()
    return scenario, assignments_of(plan, scenario), plan.schedule


def _label_names(scenario: Scenario) -> tuple[str, ...]:
    """Names of classes, labels or numbers, as the data have them."""
    from hybridsplit.runtime.data.sources import load_dataset

    is_of_transformers = scenario.model.python is None and scenario.model.task != "causal-lm"
    return load_dataset(scenario).train.label_names if is_of_transformers else ()


def _number(asked: int | str, kept: list[int], source: RunFolder) -> int:
    """Rounds of the checkpoint to open first: of the best one, the newest says which it is."""
    if asked in ("best", "last"):
        if not kept:
            raise UsageError(f"{source.path}: holds no checkpoint; nothing was trained there")
        return kept[-1]
    if isinstance(asked, bool) or not str(asked).isdecimal():
        raise UsageError(f"round: found {asked!r}; needs 'best', 'last' or a number of rounds")
    return int(asked)
