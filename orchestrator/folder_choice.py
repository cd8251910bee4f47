"""Where a run goes: into a folder of its own, never over another run."""

from __future__ import annotations

from pathlib import Path

from hybridsplit.orchestrator.run_folder import RunFolder
from hybridsplit.scenarios.errors import UsageError

_RUN_FILES = ("plan.json", "checkpoints", "summary.json", "ledger.parquet", "report.html")


def choose_folder(out: Path | None, name: str, *, resume: bool) -> RunFolder:
    """Choose where a run goes, never over another run.

    Parameters
    ----------
    out
        What the user asked for; ``runs/NAME`` with a number where taken, when None.
    name
        Name of the scenario.
    resume
        Continue the run that is there.

    Raises
    ------
    UsageError
        If the folder asked for already holds a run, or there is nothing to resume.
    """
    if out is not None:
        if not resume and any((out / name).exists() for name in _RUN_FILES):
            raise UsageError(
                f"{out}: already holds a run; continue it with --resume, or give another folder with --out"
            )
        if resume and not (out / "plan.json").exists():
            raise UsageError(f"{out}: holds no run to resume; leave --resume out to start one")
        return RunFolder(out)
    taken = [folder for folder in _numbered(name) if (folder / "plan.json").exists()]
    if resume:
        if not taken:
            raise UsageError(f"runs/{name}: holds no run to resume; leave --resume out to start one")
        return RunFolder(taken[-1])
    return RunFolder(next(folder for folder in _numbered(name, endless=True) if not folder.exists()))


def _numbered(name: str, *, endless: bool = False) -> list[Path]:
    root = Path("runs")
    folders = [root / name]
    number = 2
    while folders[-1].exists() or number == 2:
        folders.append(root / f"{name}-{number}")
        number += 1
    return folders if endless else [folder for folder in folders if folder.exists()]
