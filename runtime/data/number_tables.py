"""Rows of numbers and a label from a table."""

from __future__ import annotations

import json
import math
import warnings

import torch
from torch import Tensor

from hybridsplit.runtime.data.sources import Samples, keyed_by
from hybridsplit.runtime.data.table_files import Tables, codes, read_tables, table_targets
from hybridsplit.scenarios.errors import InputWarning, ScenarioError
from hybridsplit.scenarios.schema import NumberTable, Scenario
from hybridsplit.scenarios.shown import shown

_SMALLEST = 1e-8


def load_number_table(data: NumberTable, scenario: Scenario) -> tuple[Samples, int, int | None]:
    """Return the rows [N, F] of a table, and the number of classes.

    Raises
    ------
    ScenarioError
        If the table cannot be read, lacks a column, or holds what is neither a finite number nor a list of them;
        the message names the line.
    """
    tables = read_tables(data.path, data.test_path)
    targets = table_targets(data, tables, scenario.model.problem_type)
    keys = None if data.key_column is None else tables.complete_column(data.key_column, "key_column")
    names = data.columns or tuple(
        name for name in tables.train.columns if name not in (*data.columns_of_labels, data.key_column)
    )
    if not names or not set(names).isdisjoint(data.columns_of_labels):
        raise ScenarioError(
            f"data.columns: {tables.path}: found {', '.join(names) or 'no column'} beside the label "
            f"{shown(', '.join(data.columns_of_labels))}; needs at least one column of numbers, and not the label"
        )
    if data.columns is None and (unnamed := [name for name in names if not name.strip()]):
        warnings.warn(
            f"data.columns: {tables.path}: a column without a name is taken as numbers that the model reads, as the "
            f"other {len(names) - len(unnamed)} are; if it is an index of rows, name the others under data.columns",
            InputWarning,
            stacklevel=2,
        )
    numbers_NF = torch.cat([_numbers(tables, name) for name in names], dim=1)
    if data.standardise:
        train_NF = numbers_NF[: len(tables.train.rows)]
        deviation_F = train_NF.std(0, correction=0).clamp_min(_SMALLEST)
        numbers_NF = (numbers_NF - train_NF.mean(0)) / deviation_F
    labels, names = targets.labels, targets.names
    samples = Samples(numbers_NF.float(), labels, None, keyed_by(labels) if keys is None else codes(keys), names)
    return samples, targets.num_outputs, tables.num_test


def _numbers(tables: Tables, name: str) -> Tensor:
    """A column [N, 1] in double precision, or [N, K] where it holds lists of K numbers."""
    found: list[list[float]] = []
    for index, text in enumerate(tables.complete_column(name, "columns")):
        numbers = _entries(text)
        if not numbers or not all(map(math.isfinite, numbers)):
            raise ScenarioError(
                f"data.columns: {tables.path}: {tables.place(index)} has {shown(text)} in the column {shown(name)}; "
                "needs finite numbers: remove these rows, or name the columns of numbers under data.columns"
            )
        if found and len(numbers) != len(found[0]):
            raise ScenarioError(
                f"data.columns: {tables.path}: {tables.place(index)} has {len(numbers)} numbers in the column "
                f"{shown(name)}, the first row has {len(found[0])}; needs as many in every row"
            )
        found.append(numbers)
    return torch.tensor(found, dtype=torch.float64)


def _entries(text: str) -> list[float]:
    """The numbers of a value, one or a list of them; what is none is NaN."""
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except ValueError:
            return [math.nan]
        return [_number(str(entry)) for entry in listed]
    return [_number(text)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(text.strip().lower(), math.nan)
