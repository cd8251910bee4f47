"""The option table: the contract between profiler and solver (docs/methods/costs.md, The option table).

One row per client and placement. All costs are per round (``local_steps`` steps and one exchange
of the client part).
Rows that break a client's memory budget stay in the table with ``fits`` false, so that a report can show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hybridsplit.scenarios.contracts.display import Shown
from hybridsplit.scenarios.contracts.option_rows import OptionRows, Rows
from hybridsplit.scenarios.contracts.placement import PLACEMENT_COLUMNS
from hybridsplit.scenarios.contracts.three_part import HEAD_COLUMNS
from hybridsplit.scenarios.contracts.updates import UPDATE_COLUMNS
from hybridsplit.scenarios.errors import ContractError
from hybridsplit.scenarios.modes import MODES

OPTIONS_SCHEMA_VERSION = 6
OPTION_KEY = ("client", *PLACEMENT_COLUMNS)
"""What tells the rows of a table apart."""
OPTION_COLUMNS: Mapping[str, str] = {
    "client": "str",
    "device": "str",
    "cut": "int64",
    "mode": "str",
    "recompute": "str",
    "batch_size": "int64",
    "staleness": "int64",
    "upload_every": "int64",
    "head_blocks": "int64",
    "micro_batches": "int64",
    "client_compute_s": "float64",
    "uplink_bytes": "int64",
    "downlink_bytes": "int64",
    "model_upload_bytes": "int64",
    "model_download_bytes": "int64",
    "server_compute_s": "float64",
    "client_peak_bytes": "int64",
    "memory_budget_bytes": "int64",
    "server_state_bytes": "int64",
    "client_energy_j": "float64",
    "progress": "float64",
    "data_weight": "float64",
    "fits": "bool",
    "confidence": "str",
}
"""Column to dtype. ``uplink_bytes`` and ``downlink_bytes`` are totals of the round and contain ``model_upload_bytes``
and ``model_download_bytes``. ``server_compute_s`` is at the whole server. ``data_weight`` is the client's share of the
data, equal for all its rows and summing to 1 over clients. ``recompute`` is the order in which ``fo-recompute`` runs
its blocks, empty for one kept input per block and for every other mode, and ``ladder`` where every step has an order of
its own. ``client_energy_j`` is NaN where no power figure is published: unknown, not zero. ``confidence`` says how the
device's seconds are known (measured, calibrated, derived)."""

TARGET_COLUMNS: Mapping[str, str] = dict.fromkeys(("gain", "delay", "estimate_delay", "noise_delay"), "float64")
"""Columns of tables whose scenario has the constants of pilot runs, and of no others: ``gain``, the share of the way to
the target that a row adds in a round with nothing in the way, data weight included; ``delay``, what it puts in the way,
so that a plan with sums ``G`` and ``D`` gains ``G / (1 + D/G)`` a round; ``estimate_delay``, what a zeroth-order row
adds to that where no client trains its blocks exactly; and ``noise_delay``, what a row adds for its batches if no
client trains any block exactly, and in proportion if that is so of fewer."""

LADDER_COLUMNS: Mapping[str, str] = {"levels": "str"}
"""Columns of tables whose scenario has clients with memory that moves, and of no others: ``levels``, the levels of a
ladder as text (:mod:`hybridsplit.scenarios.contracts.ladder`), empty for rows of one level. Of a ladder
``client_peak_bytes`` is the leanest level's, and ``client_compute_s`` the mean over the recorded memory, with the time
that the client is expected to wait for memory."""
GAP_COLUMN = "recompute_gap"
"""Column of tables of chains too deep for the exact recompute programme, and of no others: the most forward work that
the row's order does beyond the least possible in as much memory, relative to that; 0 where the order is the least."""

_NEVER_NEGATIVE = (
    "client_compute_s", "uplink_bytes", "downlink_bytes", "model_upload_bytes", "model_download_bytes",
    "server_compute_s", "client_peak_bytes", "server_state_bytes", "progress", "data_weight",
)  # fmt: skip


class OptionTable(Shown):
    """A checked option table.

    Parameters
    ----------
    table
        A DataFrame with the columns of :data:`OPTION_COLUMNS`, or the same rows without repetition.

    Raises
    ------
    ContractError
        If a column is missing, a cost is missing, infinite or negative, or an option occurs twice.
    """

    def __init__(self, table: Rows) -> None:
        missing = [column for column in OPTION_COLUMNS if column not in table]
        if missing:
            raise ContractError(f"the option table lacks the columns {', '.join(missing)}")
        self._rows = table if isinstance(table, OptionRows) else OptionRows.of_frame(table)
        for column in _NEVER_NEGATIVE:
            values = self._once(column)
            self._refuse(~np.isfinite(values) | (values < 0), column, "a missing cost is never zero")
        for column in (name for name in (*HEAD_COLUMNS, *UPDATE_COLUMNS) if name in self._rows):
            values = self._once(column)
            self._refuse(~np.isfinite(values) | (values < 0), column, "a missing cost is never zero")
        energy_j = self._once("client_energy_j")
        self._refuse(np.isinf(energy_j) | (energy_j < 0), "client_energy_j", "an unknown energy is NaN")
        for column in (name for name in TARGET_COLUMNS if name in self._rows):
            values = self._once(column)
            self._refuse(
                ~np.isfinite(values) | (values < 0), column, "what an option is worth is known, or the column is absent"
            )
        modes = set(self._rows.kinds["mode"].unique()) - set(MODES)
        if modes:
            raise ContractError(f"the option table has the unknown modes {', '.join(sorted(modes))}")
        twice = self._rows.occurs_twice(PLACEMENT_COLUMNS)
        if twice.any():
            row = self._rows.frame(np.flatnonzero(twice)[:1]).iloc[0]
            same = ", ".join(f"{column.replace('_', ' ')} {row[column]}" for column in OPTION_KEY if row[column] != "")
            raise ContractError(f"the option table has {same} twice")

    @property
    def rows(self) -> OptionRows:
        """The rows without repetition."""
        return self._rows

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows as a DataFrame with the columns of :data:`OPTION_COLUMNS`."""
        frame = self._rows.frame()
        return frame[[*OPTION_COLUMNS, *(name for name in frame.columns if name not in OPTION_COLUMNS)]]

    def _once(self, column: str) -> NDArray[np.float64]:
        """Return every value of a column at least once: by client, or by kind of row."""
        own = self._rows.own
        return np.asarray(own[column] if column in own else self._rows.kinds[column].to_numpy(), dtype=float)

    def _refuse(self, bad: NDArray[np.bool_], column: str, remark: str) -> None:
        rows = self._rows
        if not bad.any() or not (of_row := bad[rows.client if column in rows.own else rows.place]).any():
            return
        row = rows.frame(np.flatnonzero(of_row)[:1]).iloc[0]
        raise ContractError(
            f"the option table has {column} = {row[column]} for client {row['client']}, cut {row['cut']}, "
            f"mode {row['mode']}; needs a finite number that is not negative: {remark}"
        )

    def __repr__(self) -> str:
        """Return its size and what it offers, in one line."""
        fitting = len(self.fitting())
        modes = ", ".join(self.table["mode"].unique())
        return (
            f"OptionTable: {len(self.table)} options of {len(self.clients)} clients, {fitting} within memory; cuts "
            f"{self.table['cut'].min()} to {self.table['cut'].max()}; modes {modes}"
        )

    @property
    def clients(self) -> list[str]:
        """Client ids in table order."""
        return [str(name) for name in self.table["client"].unique()]

    @property
    def batch_sizes(self) -> list[int]:
        """Batch sizes on offer, smallest first."""
        return sorted(int(size) for size in self.table["batch_size"].unique())

    def varies(self, column: str) -> bool:
        """Whether a column has more than one value, so that it is a choice worth naming."""
        return len(self.table[column].unique()) > 1

    def fitting(self) -> pd.DataFrame:
        """Return the rows within their client's memory budget."""
        return self.table[self.table["fits"]]

    def save(self, path: Path) -> None:
        """Write Parquet with the schema version in its metadata."""
        from hybridsplit.scenarios.contracts.parquet import write_parquet

        write_parquet(self.table, path, "options", OPTIONS_SCHEMA_VERSION)

    @classmethod
    def load(cls, path: Path) -> OptionTable:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ContractError
            If the file is missing, damaged or of another schema version.
        """
        from hybridsplit.scenarios.contracts.parquet import read_parquet

        return cls(read_parquet(path, "options", OPTIONS_SCHEMA_VERSION))
