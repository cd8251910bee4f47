"""The files of a run folder: written once by a stage, listed in its manifest, checked against it by every reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hybridsplit.orchestrator.plan_file import read_plan
from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.contracts.ledger import Ledger
from hybridsplit.scenarios.contracts.manifest import MANIFEST, Manifest
from hybridsplit.scenarios.contracts.plan import Plan
from hybridsplit.scenarios.contracts.sealed import read_sealed, write_sealed
from hybridsplit.scenarios.contracts.summary import SUMMARY_KIND, Summary
from hybridsplit.scenarios.errors import ContractError, RunError, UsageError
from hybridsplit.scenarios.schema import Scenario

if TYPE_CHECKING:
    import pandas as pd

    from hybridsplit.runtime.replay.changing import PlanSequence
    from hybridsplit.scenarios.contracts.options import OptionTable
    from hybridsplit.scenarios.contracts.relay_plan import RelayPlan
    from hybridsplit.scenarios.relays.schema import RelayScenario

ROUNDS_SCHEMA_VERSION = 1
CLIENTS_SCHEMA_VERSION = 1
_LOCK = ".lock"
CLIENT_COLUMNS = ("round", "client", "train_loss", "fault")
ROUND_COLUMNS = ("round", "simulated_s", "train_loss", "test_accuracy")
INPUTS = ("scenario.yaml", "options.parquet", "plan.json", "plan.clients.parquet")
"""What a run goes by."""
RESULTS = (
    "rounds.parquet", "control.parquet", "clients.parquet", "ledger.parquet", "replay.parquet", "replanned.json",
    "summary.json",
)  # fmt: skip
"""What it came to. Checkpoints are sealed round by round, and the report is drawn from these files."""


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
            if is_new and self.path.is_dir() and [path.name for path in self.path.iterdir()] in ([], [_LOCK]):
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

    @property
    def is_listed(self) -> bool:
        """Whether the folder has a manifest; a run that was killed before its first round may have none."""
        return (self.path / MANIFEST).exists()

    def list_inputs(self) -> None:
        """List what the run goes by in the manifest, and no results: they are to be written."""
        Manifest.write(self.path, INPUTS)

    def list_all(self) -> None:
        """List the run's files in the manifest: it is complete."""
        Manifest.write(self.path, (*INPUTS, *RESULTS))

    def check(self) -> None:
        """See that all listed files are as they were written.

        Raises
        ------
        AlteredError
            If one was changed.
        ContractError
            If one is missing or damaged, or the manifest is.
        """
        manifest = self._manifest()
        manifest.check(manifest.files)

    def _manifest(self) -> Manifest:
        if not self.path.is_dir():
            raise ContractError(
                f"{self.path}: no such folder, so it holds no complete run; needs one that 'run' or 'replay' wrote"
            )
        if not self.is_listed:
            has_some = any((self.path / name).exists() for name in (*INPUTS, *RESULTS))
            raise ContractError(
                f"{self.path}: its manifest ({MANIFEST}) is missing: it was removed, or an older version wrote the "
                "folder; run again into another one (--out)"
                if has_some
                else f"{self.path}: holds no complete run (no summary.json); needs a folder that 'run' or 'replay' "
                "wrote"
            )
        return Manifest.read(self.path)

    def _checked(self, name: str) -> Path | None:
        """Return where a file is that is as it was written, or None where the folder has no such file."""
        manifest = self._manifest()
        if name not in manifest.files:
            return None
        manifest.check([name])
        return self.path / name

    def _needed(self, name: str) -> Path:
        if (path := self._checked(name)) is None:
            raise ContractError(
                f"{self.path}: holds no complete run (no {name}); a run that stopped goes on with --resume"
            )
        return path

    def save_scenario(self, scenario: Scenario | RelayScenario) -> None:
        """Write the resolved scenario as ``scenario.yaml``."""
        import yaml

        text = yaml.safe_dump(scenario.resolved(), sort_keys=False, allow_unicode=True)
        write_text_whole(self.path / "scenario.yaml", text)

    def save_plan(self, plan: Plan | RelayPlan) -> None:
        """Write ``plan.json``."""
        plan.save(self.path / "plan.json")

    def plan(self) -> Plan:
        """Read ``plan.json``, and derive its figures again from the scenario and the option table."""
        return self.plan_and_scenario()[0]

    def plan_and_scenario(self) -> tuple[Plan, Scenario]:
        """Read ``plan.json`` as :meth:`plan` does; return the scenario inside it as well."""
        return read_plan(self._needed("plan.json"), self.options())

    def relay_plan(self) -> RelayPlan:
        """Read ``plan.json`` of a run over relays; its figures are not derived again."""
        from hybridsplit.scenarios.contracts.relay_plan import RelayPlan

        return RelayPlan.load(self._needed("plan.json"))

    def plan_begun(self) -> Plan:
        """Read the plan of a run that is to go on; its options are profiled and compared before that.

        Raises
        ------
        AlteredError, ContractError
            If it, or another file that the run goes by, is not as it was written.
        """
        if self.is_listed:
            manifest = Manifest.read(self.path)
            manifest.check(name for name in INPUTS if name in manifest.files)
        return read_plan(self.path / "plan.json")[0]

    def save_options(self, options: OptionTable) -> None:
        """Write ``options.parquet``."""
        options.save(self.path / "options.parquet")

    def options(self) -> OptionTable | None:
        """Read ``options.parquet``, or None where a replay made the folder."""
        path = self._checked("options.parquet")
        if path is None:
            return None
        from hybridsplit.scenarios.contracts.options import OptionTable

        return OptionTable.load(path)

    def save_ledger(self, ledger: Ledger) -> None:
        """Write ``ledger.parquet``."""
        ledger.save(self.path / "ledger.parquet")

    def ledger(self) -> Ledger:
        """Read ``ledger.parquet``."""
        return Ledger.load(self._needed("ledger.parquet"))

    def save_rounds(self, rounds: pd.DataFrame, name: str = "rounds") -> None:
        """Write ``rounds.parquet``, or the rounds of the frozen control."""
        from hybridsplit.scenarios.contracts.parquet import write_parquet

        write_parquet(rounds, self.path / f"{name}.parquet", "rounds", ROUNDS_SCHEMA_VERSION)

    def rounds(self, name: str = "rounds") -> pd.DataFrame | None:
        """Read ``rounds.parquet``, one row a round; None where nothing was trained."""
        path = self._checked(f"{name}.parquet")
        if path is None:
            return None
        from hybridsplit.scenarios.contracts.parquet import read_parquet

        return read_parquet(path, "rounds", ROUNDS_SCHEMA_VERSION)

    def save_followed(self, followed: PlanSequence | None) -> None:
        """Write ``replanned.json``, the plans that rounds went by; nothing where the plan could not change."""
        if followed is not None:
            from hybridsplit.orchestrator.replanning.written import save_followed

            save_followed(followed, self.path / "replanned.json")

    def followed(self, first: Plan) -> PlanSequence | None:
        """Read the plans that rounds went by, of which the first is known; None where the plan could not change."""
        path = self._checked("replanned.json")
        if path is None:
            return None
        from hybridsplit.orchestrator.replanning.written import load_followed

        return load_followed(path, first)

    def save_clients(self, clients: pd.DataFrame) -> None:
        """Write ``clients.parquet``: a row a round and client that took part."""
        from hybridsplit.scenarios.contracts.parquet import write_parquet

        write_parquet(clients, self.path / "clients.parquet", "clients", CLIENTS_SCHEMA_VERSION)

    def clients(self) -> pd.DataFrame | None:
        """Read ``clients.parquet``, one row a round and client that took part; None where nothing was trained."""
        path = self._checked("clients.parquet")
        if path is None:
            return None
        from hybridsplit.scenarios.contracts.parquet import read_parquet

        return read_parquet(path, "clients", CLIENTS_SCHEMA_VERSION)

    def save_summary(self, summary: Summary) -> None:
        """Write ``summary.json``."""
        write_sealed(self.path / "summary.json", summary.model_dump(mode="json"))

    def summary(self) -> Summary:
        """Read ``summary.json``.

        Raises
        ------
        ContractError
            If the folder holds no complete run, or the file is damaged.
        """
        path = self._needed("summary.json")
        try:
            return Summary.model_validate_json(json.dumps(read_sealed(path, SUMMARY_KIND)), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ContractError(f"{path}: {where + ': ' if where else ''}{first['msg']}; run again") from error


def open_plan(path: Path) -> tuple[Plan, Scenario]:
    """Read a plan from a file of its own, or from a run folder, where manifest and option table say more about it.

    Returns
    -------
    The plan, its figures derived again, and the scenario inside it.

    Raises
    ------
    AlteredError, ContractError
        If it is not as it was written, or no plan of the scenario inside it.
    """
    folder = RunFolder(path.parent)
    is_of_run = path.name == "plan.json" and folder.is_listed and (path.parent / "options.parquet").exists()
    return folder.plan_and_scenario() if is_of_run else read_plan(path)
