"""Tables of samples as files: CSV, TSV and Parquet, each value as the text that stands there."""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hybridsplit.runtime.data.targets import Targets, Where, targets_of
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.sections.labels import LabelColumns
from hybridsplit.scenarios.shown import gist, shown


@dataclass(frozen=True)
class Table:
    """Rows of text, one a sample, as a file has them."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    """Line of the file that each row ends at."""
    unit: str = "line"
    """What lines are called in messages."""

    def column(self, name: str, key: str) -> list[str]:
        """Return a column's text, one a row.

        Raises
        ------
        ScenarioError
            If there is no such column, or more than one.
        """
        if name not in self.columns:
            raise ScenarioError(
                f"data.{key}: found {shown(name)}; {self.path} has the columns "
                + shown(", ".join(self.columns), 200).strip("'")
                + self._why_not(name)
            )
        if self.columns.count(name) > 1:
            raise ScenarioError(
                f"data.{key}: {self.path} has {self.columns.count(name)} columns {shown(name)}; needs one"
            )
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def _why_not(self, name: str) -> str:
        """Return why a column is likely not found: what stands between columns, or blanks around a name."""
        if blank := [column for column in self.columns if column.strip() == name]:
            return f"; {shown(blank[0])} has blanks around its name: remove them in the file, or state it with them"
        inside = [column for column in self.columns if name in re.split(r"\s*[;|\t]\s*", column)]
        if inside:
            return "; needs commas between names and values (tabs in a .tsv file)"
        near = difflib.get_close_matches(name, self.columns, 1)
        return f"; did you mean {shown(near[0])}?" if near else ""

    def complete_column(self, name: str, key: str) -> list[str]:
        """Return a column that may not have missing values.

        Raises
        ------
        ScenarioError
            If it has some; the message names the first.
        """
        values = self.column(name, key)
        missing = [index for index, value in enumerate(values) if not value.strip()]
        if missing:
            raise ScenarioError(
                f"data.{key}: {self.path}: {self.place(missing[0])} has no {shown(name)} (missing in {len(missing)} of "
                f"{len(values)} rows); needs one in every row: fill it in or remove these rows"
            )
        return values

    def place(self, index: int) -> str:
        """Return where a row stands."""
        return f"{self.unit} {self.lines[index]}"


@dataclass(frozen=True)
class Tables:
    """A table to train on, and one to test on where there is a file of its own: its rows come last.

    Parameters
    ----------
    train, test
        The tables; without ``test`` a share of ``train`` is held out.
    """

    train: Table
    test: Table | None

    @property
    def path(self) -> Path:
        """The file of the training rows."""
        return self.train.path

    @property
    def num_test(self) -> int | None:
        """How many rows at the end are for testing; None where a share is held out."""
        return None if self.test is None else len(self.test.rows)

    def complete_column(self, name: str, key: str) -> list[str]:
        """Return a column of both, that may not have missing values."""
        tables = (self.train,) if self.test is None else (self.train, self.test)
        return [value for table in tables for value in table.complete_column(name, key)]

    def column(self, name: str, key: str) -> list[str]:
        """Return a column of both."""
        tables = (self.train,) if self.test is None else (self.train, self.test)
        return [value for table in tables for value in table.column(name, key)]

    def place(self, index: int) -> str:
        """Return where a row stands."""
        if self.test is None or index < len(self.train.rows):
            return self.train.place(index)
        return f"{self.test.place(index - len(self.train.rows))} of {self.test.path}"


def read_tables(path: str, test_path: str | None) -> Tables:
    """Read what a section names under ``path`` and ``test_path``.

    Raises
    ------
    ScenarioError
        As :func:`read_table`.
    """
    return Tables(read_table(Path(path)), None if test_path is None else read_table(Path(test_path), "test_path"))


def table_targets(data: LabelColumns, tables: Tables, problem_type: str) -> Targets:
    """Return the labels of a table's rows.

    Parameters
    ----------
    data
        Names the columns of labels.
    tables
        The rows.
    problem_type
        The scenario's ``model.problem_type``.

    Raises
    ------
    ScenarioError
        If a column is not there, or holds what is no label.
    """
    key = "label_column" if data.label_columns is None else "label_columns"
    # With names between separators, a row without any has no label.
    column = tables.column if data.label_separator is not None else tables.complete_column
    columns = [column(name, key) for name in data.columns_of_labels]
    where = Where(f"data.{key}: {tables.path}", tables.place)
    return targets_of(columns, where, problem_type, names=data.columns_of_labels, separator=data.label_separator)


def codes(values: Sequence[str]) -> Tensor:
    """Return [N] integers, equal where the text is: 0 for the first text, and so on."""
    code_of: dict[str, int] = {}
    return torch.tensor([code_of.setdefault(value, len(code_of)) for value in values], dtype=torch.long)


def read_table(path: Path, key: str = "path") -> Table:
    """Read a table strictly: a ``.tsv`` is split at tabs, and quotes are text; all else at commas, quoted as CSV is.

    Parameters
    ----------
    path
        The file; ``.parquet`` is read as such, its values as text.
    key
        Key of the data section that names it, for messages.

    Raises
    ------
    ScenarioError
        If it is no table with rows.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, key)
    is_tsv = path.suffix.lower() == ".tsv"
    separator = "tabs" if is_tsv else "commas"
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if is_tsv else {"strict": True}
            reader = csv.reader(file, **options)
            columns = tuple(next(reader, ()))
            for row in reader:
                if not row and len(columns) > 1:
                    continue
                rows.append(tuple(row) or ("",))
                lines.append(reader.line_num)
                if len(rows[-1]) != len(columns):
                    raise ScenarioError(
                        f"data.{key}: {path}: line {reader.line_num} has {len(row)} values, the header has "
                        f"{len(columns)}; needs as many, with {separator} between them"
                        + (
                            " (quotes are text in a .tsv file)"
                            if is_tsv
                            else " (put text with commas in double quotes)"
                        )
                    )
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        at = f", line {reader.line_num + 1}" if isinstance(error, csv.Error) else ""
        raise ScenarioError(
            f"data.{key}: {path}{at}: not a readable table ({error}); needs UTF-8 text with a line of column names and "
            f"{separator} between values"
        ) from error
    while len(columns) == 1 and rows and not rows[-1][0].strip():  # lines without text at the end of the file
        del rows[-1], lines[-1]
    if not rows:
        raise ScenarioError(f"data.{key}: {path}: found no rows; needs a line of column names, and a row a sample")
    return Table(path, columns, tuple(rows), tuple(lines))


def _read_parquet(path: Path, key: str) -> Table:
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        columns = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    except Exception as error:  # pyarrow raises many types for a damaged file
        raise ScenarioError(
            f"data.{key}: {path}: not a readable Parquet file ({gist(error)}); needs one with named columns"
        ) from error
    if not table.num_rows:
        raise ScenarioError(f"data.{key}: {path}: found no rows; needs a row a sample")
    rows = tuple(zip(*columns, strict=True))
    return Table(path, tuple(table.column_names), rows, tuple(range(table.num_rows)), "row")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return json.dumps(value, default=str)  # as text files have lists
    return "" if value is None else str(value)
