"""The files of a run folder: written once by a stage, read by the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.summary import Summary
from hybridsplit.scenarios.errors import ContractError, RunError, UsageError
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.scenarios.contracts.options import OptionTable

ROUNDS_SCHEMA_VERSION = 1
CLIENTS_SCHEMA_VERSION = 1
_LOCK = ".lock"
CLIENT_COLUMNS = ("round", "client", "train_loss", "fault")
ROUND_COLUMNS = ("round", "simulated_s", "train_loss", "test_accuracy")


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run.

    Parameters
    ----------
    path
        The folder; created on first write.
    """

    path: Path

    def create(self) -> RunFolder:
        """Make the folder.

        Raises
        ------
        RunError
            If it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be made ({error}); give another folder with --out") from error
        return self

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folder, and keep other runs out of it meanwhile; it is gone again if nothing was written.

        Raises
        ------
        UsageError
            If another run is writing into it.
        RunError
            If it cannot be made or written.
        """
        from filelock import FileLock, Timeout

        is_new = not self.path.exists()
        lock = FileLock(self.create().path / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"{self.path}: another run is writing into it; wait for its end, or give another folder with --out"
            ) from error
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written ({error}); give another folder with --out") from error
        try:
            yield
        finally:
            lock.release()
            if is_new and [path.name for path in self.path.iterdir()] in ([], [_LOCK]):
                (self.path / _LOCK).unlink(missing_ok=True)
                self.path.rmdir()

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    def save_scenario(self, scenario: Scenario) -> None:
        """Write the resolved scenario as ``scenario.yaml``."""
        import yaml

        text = yaml.safe_dump(scenario.resolved(), sort_keys=False, allow_unicode=True)
        write_text_whole(self.path / "scenario.yaml", text)

    def save_plan(self, plan: Plan) -> None:
        """Write ``plan.json``."""
        plan.save(self.path / "plan.json")

    def plan(self) -> Plan:
        """Read ``plan.json``."""
        return Plan.load(self.path / "plan.json")

    def save_options(self, options: OptionTable) -> None:
        """Write ``options.parquet``."""
        options.save(self.path / "options.parquet")

    def options(self) -> OptionTable | None:
        """Read ``options.parquet``, or None where a replay made the folder."""
        path = self.path / "options.parquet"
        if not path.exists():
            return None
        from hybridsplit.scenarios.contracts.options import OptionTable

        return OptionTable.load(path)

    def save_ledger(self, ledger: Ledger) -> None:
        """Write ``ledger.parquet``."""
        ledger.save(self.path / "ledger.parquet")

    def ledger(self) -> Ledger:
        """Read ``ledger.parquet``."""
        return Ledger.load(self.path / "ledger.parquet")

    def save_rounds(self, rounds: pd.DataFrame, name: str = "rounds") -> None:
        """Write ``rounds.parquet``, or the rounds of the frozen control."""
        from hybridsplit.scenarios.contracts.parquet import write_parquet

        write_parquet(rounds, self.path / f"{name}.parquet", "rounds", ROUNDS_SCHEMA_VERSION)

    def rounds(self, name: str = "rounds") -> pd.DataFrame | None:
        """Read ``rounds.parquet``, one row a round; None where nothing was trained."""
        path = self.path / f"{name}.parquet"
        if not path.exists():
            return None
        from hybridsplit.scenarios.contracts.parquet import read_parquet

        return read_parquet(path, "rounds", ROUNDS_SCHEMA_VERSION)

    def save_clients(self, clients: pd.DataFrame) -> None:
        """Write ``clients.parquet``: a row a round and client that took part."""
        from hybridsplit.scenarios.contracts.parquet import write_parquet

        write_parquet(clients, self.path / "clients.parquet", "clients", CLIENTS_SCHEMA_VERSION)

    def save_summary(self, summary: Summary) -> None:
        """Write ``summary.json``."""
        write_text_whole(self.path / "summary.json", summary.model_dump_json(indent=1) + "\n")

    def summary(self) -> Summary:
        """Read ``summary.json``.

        Raises
        ------
        ContractError
            If the folder holds no complete run, or the file is damaged.
        """
        path = self.path / "summary.json"
        if not path.is_file():
            raise ContractError(
                f"{self.path}: holds no complete run (no summary.json); needs a folder that 'run' or 'replay' wrote"
            )
        try:
            return Summary.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ContractError(f"{path}: {where + ': ' if where else ''}{first['msg']}; run again") from error


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
