"""Tables as Parquet files that say what they are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hybridsplit.scenarios.contracts.files import write_whole
from hybridsplit.scenarios.errors import ContractError


def write_parquet(table: pd.DataFrame, path: Path, kind: str, schema_version: int) -> None:
    """Write a table as Parquet, stamped with what it is and its schema version."""
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
        [N] rows as they were written.

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
