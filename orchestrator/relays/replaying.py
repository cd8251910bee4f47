"""Replay a plan over relays, and keep plan, figures and report in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from hybridsplit.orchestrator.relays.check import check_relay_folder
from hybridsplit.orchestrator.relays.planning import ComparedRelays, open_relay_plan
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.writing import writing_to
from hybridsplit.runtime.replay_relays import Interval, PlayedRelays, play_relays
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.manifest import MANIFEST, Manifest
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, write_sealed
from hybridsplit.scenarios.contracts.summary import Scored
from hybridsplit.scenarios.errors import ContractError

STREAMED_BATCHES = 200
"""Batches of a stream to replay: filling the machines at the start then weighs little."""
_FILES = ("scenario.yaml", "plan.json", "summary.json", "rounds.parquet", "clients.parquet", "ledger.parquet")
"""Those of training are there where a run made the folder."""
_SUMMARY_KIND = Kind("the summary of a replay", 1, "replay again into another folder (--out)")


class TrainedFigures(Scored):
    """What training came to, where a run made the folder. Figures are final ones, never the best of a run."""

    simulated_s: float
    """The replay's clock at the end."""
    train_loss: float | None
    """Mean of the last round; None where no training counted in it."""
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    test_r2: float | None = None
    """After the last round, by ``model.problem_type``."""
    bytes: dict[str, dict[str, int]]
    """By source and phase, over all links."""
    bytes_agree: bool
    """Whether plan, replay and run count the same bytes, by client, round, phase and link."""
    peak_bytes: dict[str, int]
    """Measured peak of every client's own blocks."""
    node_peak_bytes: dict[str, dict[str, int]]
    """By client, the measured peak of its blocks on every other machine."""
    within_budget: bool
    """Whether every client kept its budget; a machine that exceeds its memory ends the run."""
    executor: str
    events: tuple[str, ...]
    """What happened to clients, workers and relays, in words."""


class RelaySummary(FrozenValue):
    """What a replay found, and a run, with what the report sets beside it."""

    schema_version: int = 1
    task: str = "relays"
    rounds: int
    value_s: float
    planned_s: float
    lower_bound_s: float
    ends_s: dict[str, float]
    """End of every client in the last round, from its start."""
    busy_s: dict[str, float]
    """Seconds that each machine and link direction worked, in all rounds."""
    intervals: tuple[tuple[str, str, str, int, float, float], ...] = ()
    """Work of the first round: resource, client, kind, micro-batch, start and end."""
    strategies: tuple[ComparedRelays, ...] = ()
    training: TrainedFigures | None = None
    """None where nothing was trained."""


def replay_relays(plan: RelayPlan, rounds: int | None) -> RelaySummary:
    """Replay a plan.

    Parameters
    ----------
    plan
        The plan.
    rounds
        Rounds, or batches of a stream; 1 or :data:`STREAMED_BATCHES` when None.
    """
    number = (STREAMED_BATCHES if plan.objective == "inference-period" else 1) if rounds is None else rounds
    return summary_of(plan, play_relays(plan, number))


def summary_of(plan: RelayPlan, played: PlayedRelays) -> RelaySummary:
    """Return the figures of a replay.

    Parameters
    ----------
    plan, played
        The plan, and its replay.
    """
    return RelaySummary(
        rounds=played.rounds,
        value_s=played.value_s,
        planned_s=plan.value_s,
        lower_bound_s=plan.lower_bound_s,
        ends_s=played.ends_s,
        busy_s=played.busy_s,
        intervals=tuple(tuple(one) for one in played.intervals),
    )


def intervals_of(summary: RelaySummary) -> list[Interval]:
    """Return the work of the first round.

    Parameters
    ----------
    summary
        What a replay found.
    """
    return [Interval(*one) for one in summary.intervals]


def save_relay_folder(folder: RunFolder, plan: RelayPlan, summary: RelaySummary) -> None:
    """Write plan, figures and report, and list all files of the folder.

    Parameters
    ----------
    folder
        Where to.
    plan, summary
        What was replayed, and what was found.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    from hybridsplit.orchestrator.relays.report import render_relay_report

    folder.create()
    with writing_to(folder.path, "free some space, or give another folder with --out"):
        text = yaml.safe_dump(plan.scenario, sort_keys=False, allow_unicode=True)
        write_text_whole(folder.path / "scenario.yaml", text)
        plan.save(folder.path / "plan.json")
        write_sealed(folder.path / "summary.json", summary.model_dump(mode="json"))
        Manifest.write(folder.path, _FILES)
        write_text_whole(folder.report, render_relay_report(plan, summary, folder.rounds()))


def read_relay_summary(path: Path) -> RelaySummary:
    """Read the figures of a folder.

    Parameters
    ----------
    path
        Its ``summary.json``.

    Raises
    ------
    AlteredError, ContractError
        If it is missing, damaged or was changed.
    """
    document = read_sealed(path, _SUMMARY_KIND)
    try:
        return RelaySummary.model_validate_json(json.dumps(document), strict=True)
    except ValueError as error:
        raise ContractError(f"{path}: {error}; {_SUMMARY_KIND.remedy}") from error


def relay_report_again(folder: RunFolder) -> Path:
    """Render the report of a folder again, from files that are as they were written.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    AlteredError, ContractError
        If a file is missing, damaged or was changed.
    """
    from hybridsplit.orchestrator.relays.report import render_relay_report

    if not (folder.path / MANIFEST).exists():
        raise ContractError(f"{folder.path}: its manifest ({MANIFEST}) is missing; replay again into another folder")
    manifest = Manifest.read(folder.path)
    manifest.check(name for name in _FILES if name in manifest.files)
    plan = open_relay_plan(folder.path / "plan.json")
    summary = read_relay_summary(folder.path / "summary.json")
    rounds = folder.rounds()
    check_relay_folder(folder.path, plan, summary, None if rounds is None else folder.ledger(), rounds)
    with writing_to(folder.path, "make it writable"):
        write_text_whole(folder.report, render_relay_report(plan, summary, rounds))
    return folder.report
