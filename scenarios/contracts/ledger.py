"""The ledger: bytes and seconds per client, round and phase, from planner, replay and run alike.

``seconds`` is time being served; ``waiting_s`` is time standing by (at the barrier, in a queue, on a link at rate
zero). Elapsed time is their sum. ``emulated`` marks seconds taken on the emulating machine instead of the device.

Where a model is cut several times, entries also have a ``node``: the machine, or the two ends of the link. Machines and
links then work at the same time for one client, so that its seconds are those of each and no elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hybridsplit.scenarios.contracts.phases import Phase
from hybridsplit.scenarios.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd

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
NODE = "node"
"""The column that only ledgers of models with several cuts have."""


class Source(StrEnum):
    """Who wrote a ledger entry."""

    PLANNED = "planned"
    REPLAYED = "replayed"
    MEASURED = "measured"


class LedgerEntry(NamedTuple):
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
    node
        The machine, or the link (``source>target``), where a model is cut several times; empty for one cut.
    """

    source: Source
    client: str
    round: int
    phase: Phase
    seconds: float
    waiting_s: float = 0.0
    bytes: int = 0
    emulated: bool = False
    node: str = ""


@dataclass(frozen=True)
class Ledger:
    """A checked table of ledger entries, columns as in :data:`LEDGER_COLUMNS`; :data:`NODE` where entries have one."""

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
        import pandas as pd  # late: a replay that writes nothing has no need of tables

        rows = [(str(source), client, number, str(phase), *rest) for source, client, number, phase, *rest in entries]
        table = pd.DataFrame(rows, columns=[*LEDGER_COLUMNS, NODE]).astype({**LEDGER_COLUMNS, NODE: "str"})
        return cls(table if table[NODE].any() else table.drop(columns=NODE))

    @classmethod
    def concat(cls, ledgers: Iterable[Ledger]) -> Ledger:
        """Join ledgers, for example planned, replayed and measured ones."""
        import pandas as pd

        tables = [ledger.table for ledger in ledgers if len(ledger.table)]
        return cls(pd.concat(tables, ignore_index=True)) if tables else cls.from_entries([])

    def of(self, source: Source) -> pd.DataFrame:
        """Return the rows of one source."""
        return self.table[self.table["source"] == str(source)]

    def entries(self) -> Iterator[LedgerEntry]:
        """Return the rows as entries, in their order."""
        names = [*LEDGER_COLUMNS, *([NODE] if NODE in self.table else [])]
        columns = (self.table[name].tolist() for name in names)
        for source, client, round_index, phase, *figures in zip(*columns, strict=True):
            yield LedgerEntry(Source(source), client, round_index, Phase(phase), *figures)

    def save(self, path: Path) -> None:
        """Write Parquet with the schema version in its metadata."""
        from hybridsplit.scenarios.contracts.parquet import write_parquet

        write_parquet(self.table, path, "ledger", LEDGER_SCHEMA_VERSION)

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ContractError
            If the file is missing, damaged or of another schema version.
        """
        from hybridsplit.scenarios.contracts.parquet import read_parquet

        return cls(read_parquet(path, "ledger", LEDGER_SCHEMA_VERSION))
