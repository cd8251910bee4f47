"""Replay a plan of an inference task, and keep plan, figures and report in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from hybridsplit.orchestrator.inference.comparing import (
    ComparedApps,
    Progress,
    RateCell,
    compare_apps,
    rate_table,
    silent,
)
from hybridsplit.orchestrator.inference.planning import open_inference_plan
from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.orchestrator.writing import writing_to
from hybridsplit.runtime.replay_apps import PlayedPlan, play
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.inference_plan import InferencePlan
from hybridsplit.scenarios.contracts.manifest import MANIFEST, Manifest
from hybridsplit.scenarios.contracts.placement import FrozenValue
from hybridsplit.scenarios.contracts.sealed import Kind, read_sealed, write_sealed
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.inference.loading import validate_inference

ROUNDS = 1000
"""Periods to replay: filling the space at the start then weighs little."""
_FILES = ("scenario.yaml", "plan.json", "summary.json")
_SUMMARY_KIND = Kind("the summary of a replay", 1, "replay again into another folder (--out)")


class ReplayedApp(FrozenValue):
    """How an app did in the replay."""

    id: str
    frames: int
    rate_hz: float
    planned_rate_hz: float
    latency_s: float


class ReplaySummary(FrozenValue):
    """What a replay found, with what the report sets beside it."""

    schema_version: int = 1
    task: str = "inference"
    rounds: int
    frames_in_flight: int
    period_s: float
    planned_period_s: float
    apps: tuple[ReplayedApp, ...]
    busy: dict[str, dict[str, float]]
    """Share of time that every unit was busy, by device and unit."""
    strategies: tuple[ComparedApps, ...] = ()
    rates: tuple[RateCell, ...] = ()


def replay_task(plan: InferencePlan, rounds: int) -> ReplaySummary:
    """Replay a plan.

    Parameters
    ----------
    plan
        The plan.
    rounds
        Periods to play.
    """
    return _summary(play(plan, rounds))


def with_comparison(plan: InferencePlan, summary: ReplaySummary, on_progress: Progress = silent) -> ReplaySummary:
    """Return what a replay found with the baselines and the nine pairs of rates beside it, for its report.

    Parameters
    ----------
    plan, summary
        What was replayed, and what was found.
    on_progress
        Called with what is being done and the share that is done.
    """
    from hybridsplit.solver.virtual_space.strategies import BASELINES

    scenario = validate_inference(plan.scenario, "the plan's scenario")
    rows, _ = compare_apps(scenario, BASELINES, on_progress)
    rated = [
        row if row.period_s is None else row.model_copy(update={"ratio": row.period_s / plan.period_s}) for row in rows
    ]
    cells = rate_table(scenario, on_progress)
    return summary.model_copy(update={"strategies": tuple(rated), "rates": tuple(cells)})


def save_replay(folder: RunFolder, plan: InferencePlan, summary: ReplaySummary) -> None:
    """Write plan, figures and report.

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
    from hybridsplit.orchestrator.inference.report import render_inference_report

    folder.create()
    with writing_to(folder.path, "free some space, or give another folder with --out"):
        text = yaml.safe_dump(plan.scenario, sort_keys=False, allow_unicode=True)
        write_text_whole(folder.path / "scenario.yaml", text)
        plan.save(folder.path / "plan.json")
        write_sealed(folder.path / "summary.json", summary.model_dump(mode="json"))
        Manifest.write(folder.path, _FILES)
        write_text_whole(folder.report, render_inference_report(plan, summary))


def report_again(folder: RunFolder) -> Path:
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
    from hybridsplit.orchestrator.inference.report import render_inference_report

    if not (folder.path / MANIFEST).exists():
        raise ContractError(f"{folder.path}: its manifest ({MANIFEST}) is missing; replay again into another folder")
    manifest = Manifest.read(folder.path)
    manifest.check(name for name in _FILES if name in manifest.files)
    plan = open_inference_plan(folder.path / "plan.json")
    document: dict[str, Any] = read_sealed(folder.path / "summary.json", _SUMMARY_KIND)
    try:
        summary = ReplaySummary.model_validate_json(json.dumps(document), strict=True)
    except ValueError as error:
        raise ContractError(f"{folder.path / 'summary.json'}: {error}; {_SUMMARY_KIND.remedy}") from error
    with writing_to(folder.path, "make it writable"):
        write_text_whole(folder.report, render_inference_report(plan, summary))
    return folder.report


def _summary(played: PlayedPlan) -> ReplaySummary:
    busy: dict[str, dict[str, float]] = {}
    for (device, unit), share in played.busy.items():
        busy.setdefault(device, {})[str(unit)] = share
    return ReplaySummary(
        rounds=played.rounds,
        frames_in_flight=played.frames_in_flight,
        period_s=played.period_s,
        planned_period_s=played.planned_period_s,
        apps=tuple(ReplayedApp(**vars(app)) for app in played.apps),
        busy=busy,
    )
