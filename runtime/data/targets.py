"""What a model is trained towards: classes, several labels of a sample at once, or numbers to predict."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybridsplit.runtime.data.labels import class_labels, class_names
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hybridsplit.scenarios.shown import shown

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Targets:
    """The labels of all samples.

    Parameters
    ----------
    labels
        [N] classes; or [N, K] in single precision: numbers, or 0 and 1.
    num_outputs
        Classes, labels or numbers that a head has outputs for.
    names
        Of the outputs, where the data name them; empty elsewhere.
    """

    labels: Tensor
    num_outputs: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Where:
    """Where labels come from, for messages.

    Parameters
    ----------
    key
        Key path and file.
    place_of
        Where the label at an index stands.
    """

    key: str
    place_of: Callable[[int], str]


def targets_of(
    columns: Sequence[Sequence[object]],
    where: Where,
    problem_type: str,
    *,
    names: Sequence[str] = (),
    separator: str | None = None,
) -> Targets:
    """Return the labels of samples as a head of their problem type is trained towards them.

    Parameters
    ----------
    columns
        One or several columns of N values, or one of N vectors: sequences, or JSON lists as text.
    where
        For messages.
    problem_type
        The scenario's ``model.problem_type``.
    names
        Of the columns.
    separator
        What stands between the names of a sample's labels; None where names are in lists, or labels are 0 and 1.

    Raises
    ------
    ScenarioError
        If a label is missing or nothing of the kind, or vectors differ in length.
    """
    if problem_type == SINGLE_LABEL:
        _check_single(columns[0], where)
        classes, num_classes = class_labels(columns[0], where.key, where.place_of)
        return Targets(classes, num_classes, class_names(columns[0]))
    if separator is not None:
        return _named([_between(value, separator) for value in columns[0]], where)
    is_one = len(columns) == 1
    rows = [_entries(value) for value in columns[0]] if is_one else [list(row) for row in zip(*columns, strict=True)]
    if problem_type != REGRESSION and is_one and any(_is_name(entry) for row in rows for entry in row):
        return _named(rows, where)
    return _vectors(rows, where, problem_type, names)


def _check_single(values: Sequence[object], where: Where) -> None:
    """Refuse vectors where a label is one class: text of them would be taken as names."""
    for index, value in enumerate(values):
        entries = _entries(value) if not isinstance(value, str) or value.lstrip().startswith("[") else [value]
        if len(entries) != 1:
            raise ScenarioError(
                f"{where.key}: {where.place_of(index)} has the label {shown(str(value))} of {len(entries)} entries; "
                "needs one class: give the number of the class (argmax of a one-hot vector), or state "
                f"model.problem_type {MULTI_LABEL} or {REGRESSION}"
            )


def _between(value: object, separator: str) -> list[object]:
    return [name.strip() for name in str("" if value is None else value).split(separator) if name.strip()]


def _entries(value: object) -> list[object]:
    """The entries of a vector; a single value is a vector of one."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_name(entry: object) -> bool:
    return isinstance(entry, str) and _number(entry) is None


def _number(entry: object) -> float | None:
    """A finite number that single precision can hold, or None."""
    if isinstance(entry, str):
        entry = {"true": True, "false": False}.get(entry.strip().lower(), entry)
    try:
        found = float(entry)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if abs(found) <= _LARGEST else None


def _named(rows: Sequence[Sequence[object]], where: Where) -> Targets:
    """Labels by name, numbered in sorted order."""
    for index, row in enumerate(rows):
        if wrong := [entry for entry in row if not isinstance(entry, str) or not entry.strip()]:
            raise ScenarioError(
                f"{where.key}: {where.place_of(index)} has {shown(wrong[0])} among its labels; needs names as text in "
                "every row, or lists of 0 and 1 in every row"
            )
    names = sorted({str(entry).strip() for row in rows for entry in row})
    if not names:
        raise ScenarioError(f"{where.key}: found no label in {len(rows)} rows; needs some that samples have")
    number_of = {name: number for number, name in enumerate(names)}
    labels = torch.zeros(len(rows), len(names))
    for index, row in enumerate(rows):
        for entry in row:
            labels[index, number_of[str(entry).strip()]] = 1.0
    return Targets(labels, len(names), tuple(names))


def _vectors(rows: Sequence[Sequence[object]], where: Where, problem_type: str, names: Sequence[str]) -> Targets:
    """Vectors of one length: of numbers, or of 0 and 1."""
    is_regression, length = problem_type == REGRESSION, len(rows[0])
    needs = "finite numbers that single precision can hold" if is_regression else "0 and 1, or lists of names"
    found = []
    for index, row in enumerate(rows):
        numbers = [_number(entry) for entry in row]
        if len(row) != length or not row:
            raise ScenarioError(
                f"{where.key}: {where.place_of(index)} has {len(row)} labels, the first has {length}; needs as many in "
                "every row, and at least one"
            )
        for entry, number in zip(row, numbers, strict=True):
            if number is None or not (is_regression or number in (0.0, 1.0)):
                raise ScenarioError(
                    f"{where.key}: {where.place_of(index)} has {shown(entry)} as a label; model.problem_type "
                    f"{problem_type!r} needs {needs} in every row: repair or remove these rows"
                )
        found.append(numbers)
    return Targets(torch.tensor(found, dtype=torch.float32), length, tuple(names) if len(names) == length else ())


def check_scored(scenario: Scenario, labels: Tensor) -> None:
    """Refuse a test set on which a regression has no score.

    Parameters
    ----------
    scenario
        The scenario.
    labels
        Labels of its test set, [N, K] for a regression.

    Raises
    ------
    ScenarioError
        If a number to predict is the same in all of them.
    """
    if scenario.model.problem_type != REGRESSION:
        return
    same = torch.nonzero((labels == labels[0]).all(0)).flatten().tolist()
    if same:
        raise ScenarioError(
            f"data: the {len(labels)} test samples all have {float(labels[0, same[0]]):g} as number {same[0]} to "
            "predict, so that R² says nothing; raise data.test_fraction, or give test data in which it differs"
        )
