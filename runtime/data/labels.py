"""Class labels as data files have them: whole numbers from 0 on, whatever their type, or names in sorted order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import shown

_WHOLE_NUMBER = re.compile(r"(\d{1,9})(\.0+)?", re.ASCII)
_MOST_MIXED = 4


def class_labels(values: Sequence[object], where: str, place_of: Callable[[int], str]) -> tuple[Tensor, int]:
    """Return [N] classes, and their number.

    Whole numbers are the classes themselves, and their number is the largest and one more. Names, none of which is a
    number, are numbered in sorted order.

    Parameters
    ----------
    values
        [N] whole numbers, or text that is one (``1.0`` is 1), or names.
    where
        Key path and file that they come from, for messages.
    place_of
        Where the label at an index stands, for messages.

    Raises
    ------
    ScenarioError
        If a label is missing or neither, there are names beside numbers, each name occurs once, or the largest number
        is not below the number of samples.
    """
    texts = [str(value).strip() for value in values]
    if texts and all(text and not _is_number(text) for text in texts):
        return _numbered(texts, where)
    classes = []
    for index, text in enumerate(texts):
        match = _WHOLE_NUMBER.fullmatch(text)
        if match is None:
            distinct = dict.fromkeys(texts)
            raise ScenarioError(
                f"{where}: {place_of(index)} has the label {shown(str(values[index]))}; needs whole numbers 0, 1, 2, "
                f"... in every row, or names in every row: number the {len(distinct)} different labels, or remove the "
                "rows without one"
            )
        classes.append(int(match[1]))
    largest = max(classes, default=0)
    if largest >= max(1, len(classes)):
        raise ScenarioError(
            f"{where}: {place_of(classes.index(largest))} has the label {largest}, yet there are {len(classes)} "
            "samples; needs labels that number the classes 0, 1, 2, ... without gaps"
        )
    return torch.tensor(classes, dtype=torch.long), largest + 1


def class_names(values: Sequence[object]) -> tuple[str, ...]:
    """Return the names of classes in their order; none where classes are numbers.

    Parameters
    ----------
    values
        Labels that :func:`class_labels` took.
    """
    texts = {str(value).strip() for value in values}
    return () if any(_is_number(text) for text in texts) else tuple(sorted(texts))


def class_doubts(train: Tensor, test: Tensor, names: Sequence[str]) -> list[str]:
    """Return in sentences what is likely wrong with classes, though a model can be trained.

    Parameters
    ----------
    train, test
        [N] classes of both sets.
    names
        Of the classes; none where they are numbers.
    """
    trained, tested = (set(labels.tolist()) for labels in (train, test))
    found = []
    if unknown := sorted(tested - trained):
        number = int(torch.isin(test, torch.tensor(unknown)).sum())
        called = [str(names[label]) if names else str(label) for label in unknown]
        found.append(
            f"data: no training sample has the class {shown(', '.join(called), 80)}, which {number} of the {len(test)} "
            "test samples have: no model learns it from these data; likely a label of the test data is misspelt, or "
            "the training data are too few"
        )
    if not names and 0 not in trained | tested:
        found.append(
            f"data: labels begin at {min(trained | tested)}, and are taken as the numbers of classes from 0 on, so "
            "that a head has an output that nothing trains; number them from 0 on to save it"
        )
    return found


def _numbered(names: Sequence[str], where: str) -> tuple[Tensor, int]:
    """Number names in sorted order."""
    number_of = {name: number for number, name in enumerate(sorted(set(names)))}
    if len(number_of) == len(names) > _MOST_MIXED:
        raise ScenarioError(
            f"{where}: each of the {len(names)} labels occurs once, {shown(names[0])} first; needs classes that "
            "several samples share: likely another column holds the labels"
        )
    return torch.tensor([number_of[name] for name in names], dtype=torch.long), len(number_of)


def _is_number(text: str) -> bool:
    """Whether text is a number, or what stands for one that is missing."""
    try:
        float(text)
    except ValueError:
        return text.lower() in ("none", "null", "na", "n/a", "<na>")
    return True
