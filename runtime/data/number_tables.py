"""Rows of numbers and a label from a table."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybridsplit.runtime.data.sources import Samples, keyed_by
from hybridsplit.runtime.data.table_files import Tables, codes, read_tables, table_targets
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import NumberTable, Scenario
from hybridsplit.scenarios.shown import shown

_SMALLEST = 1e-8


def load_number_table(data: NumberTable, scenario: Scenario) -> tuple[Samples, int, int | None]:
    """Return the rows [N, F] of a table, and the number of classes.

    Raises
    ------
    ScenarioError
        If the table cannot be read, lacks a column, or holds what is no finite number; the message names the line.
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
    numbers_NF = torch.stack([_numbers(tables, name) for name in names], dim=1)
    if data.standardise:
        train_NF = numbers_NF[: len(tables.train.rows)]
        deviation_F = train_NF.std(0, correction=0).clamp_min(_SMALLEST)
        numbers_NF = (numbers_NF - train_NF.mean(0)) / deviation_F
    labels, names = targets.labels, targets.names
    samples = Samples(numbers_NF.float(), labels, None, keyed_by(labels) if keys is None else codes(keys), names)
    return samples, targets.num_outputs, tables.num_test


def _numbers(tables: Tables, name: str) -> Tensor:
    """A column [N] in double precision."""
    found = []
    for index, text in enumerate(tables.complete_column(name, "columns")):
        try:
            number = float(text)
        except ValueError:
            number = {"true": 1.0, "false": 0.0}.get(text.strip().lower(), math.nan)
        if not math.isfinite(number):
            raise ScenarioError(
                f"data.columns: {tables.path}: {tables.place(index)} has {shown(text)} in the column {shown(name)}; "
                "needs finite numbers: remove these rows, or name the columns of numbers under data.columns"
            )
        found.append(number)
    return torch.tensor(found, dtype=torch.float64)
