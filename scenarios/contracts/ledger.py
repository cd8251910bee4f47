"""The ledger: bytes and seconds per client, round and phase, from planner, replay and run alike.

``seconds`` is time being served; ``waiting_s`` is time standing by (at the barrier, in a queue, on a link at rate
zero). Elapsed time is their sum. ``emulated`` marks seconds taken on the emulating machine instead of the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hybridsplit.scenarios.contracts.files import write_whole
from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import ContractError

LEDGER_SCHEMA_VERSION = 1
LEDGER_COLUMNS: Mapping[str, str] = {
    "source": "str",
    "client": "str",
    "round": "int64",
    "phase": "str",
    "seconds": "float64",
    "waiting_s": "float64",
    "bytes": "int64",
    "emulated": "bool",
}


class Source(StrEnum):
    """Who wrote a ledger entry."""

    PLANNED = "planned"
    REPLAYED = "replayed"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One phase of one client in one round.

    Parameters
    ----------
    source, client, round, phase
        Who says it, about whom, when (rounds count from 0) and what.
    seconds
        Time being served; NaN where it was not measured.
    waiting_s
        Time standing by within the phase.
    bytes
        Payload carried over the air; 0 for phases that carry none.
    emulated
        True when ``seconds`` were taken on the emulating machine and say nothing about the device.
    """

    source: Source
    client: str
    round: int
    phase: Phase
    seconds: float
    waiting_s: float = 0.0
    bytes: int = 0
    emulated: bool = False


@dataclass(frozen=True)
class Ledger:
    """A checked table of ledger entries, columns as in :data:`LEDGER_COLUMNS`."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [column for column in LEDGER_COLUMNS if column not in self.table.columns]
        if missing:
            raise ContractError(
                f"the ledger lacks the columns {', '.join(missing)}; it was not written by this version"
            )

    @classmethod
    def from_entries(cls, entries: Iterable[LedgerEntry]) -> Ledger:
        """Build a ledger from entries, in their order."""
        rows = [
            (str(e.source), e.client, e.round, str(e.phase), e.seconds, e.waiting_s, e.bytes, e.emulated)
            for e in entries
        ]
        return cls(pd.DataFrame(rows, columns=list(LEDGER_COLUMNS)).astype(dict(LEDGER_COLUMNS)))

    @classmethod
    def concat(cls, ledgers: Iterable[Ledger]) -> Ledger:
        """Join ledgers, for example planned, replayed and measured ones."""
        tables = [ledger.table for ledger in ledgers if len(ledger.table)]
        return cls(pd.concat(tables, ignore_index=True)) if tables else cls.from_entries([])

    def of(self, source: Source) -> pd.DataFrame:
        """Return the rows of one source."""
        return self.table[self.table["source"] == str(source)]

    def save(self, path: Path) -> None:
        """Write Parquet with the schema version in its metadata."""
        write_parquet(self.table, path, "ledger", LEDGER_SCHEMA_VERSION)

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ContractError
            If the file is missing, damaged or of another schema version.
        """
        return cls(read_parquet(path, "ledger", LEDGER_SCHEMA_VERSION))


def write_parquet(table: pd.DataFrame, path: Path, kind: str, schema_version: int) -> None:
    """Write a table as Parquet, stamped with what it is and its schema version.

    Parameters
    ----------
    table, path
        The table, and the file; a file that exists is replaced as a whole.
    kind, schema_version
        What :func:`read_parquet` will ask for.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    stamp = {b"hybridsplit.kind": kind.encode(), b"hybridsplit.schema_version": str(schema_version).encode()}
    stamped = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **stamp})
    write_whole(path, lambda partial: pq.write_table(stamped, partial))


def read_parquet(path: Path, kind: str, schema_version: int) -> pd.DataFrame:
    """Read a table that :func:`write_parquet` wrote, refusing another kind or version.

    Parameters
    ----------
    path
        The file.
    kind, schema_version
        What it must be stamped with.

    Returns
    -------
    DataFrame
        The rows as they were written.

    Raises
    ------
    ContractError
        If the file is missing, damaged, or of another kind or schema version.
    """
    if not path.is_file():
        raise ContractError(f"{path}: no such file; a {kind} table is needed here")
    try:
        arrow = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ContractError(f"{path}: not a readable Parquet file ({error}); write it again") from error
    metadata = arrow.schema.metadata or {}
    found_kind = metadata.get(b"hybridsplit.kind", b"").decode() or "unmarked"
    found_version = metadata.get(b"hybridsplit.schema_version", b"none").decode()
    if found_kind != kind or found_version != str(schema_version):
        raise ContractError(
            f"{path}: found a {found_kind} table of schema version {found_version}; "
            f"needs a {kind} table of version {schema_version}: write it again with this version"
        )
    frame: pd.DataFrame = arrow.to_pandas()
    return frame
