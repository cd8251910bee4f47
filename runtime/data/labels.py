"""Class labels as data files have them: whole numbers from 0 on, whatever the type they are stored in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import shown

_WHOLE_NUMBER = re.compile(r"(\d{1,9})(\.0+)?", re.ASCII)


def class_labels(values: Sequence[object], where: str, place_of: Callable[[int], str]) -> tuple[Tensor, int]:
    """Return [N] classes, and their number: the largest class and one more.

    Parameters
    ----------
    values
        [N] whole numbers, or text that is one; ``1.0`` is 1.
    where
        Key path and file that they come from, for messages.
    place_of
        Where the label at an index stands, for messages.

    Raises
    ------
    ScenarioError
        If a label is missing or no such number, or the largest is not below the number of samples.
    """
    classes = []
    for index, value in enumerate(values):
        match = _WHOLE_NUMBER.fullmatch(str(value).strip())
        if match is None:
            distinct = dict.fromkeys(str(other).strip() for other in values)
            raise ScenarioError(
                f"{where}: {place_of(index)} has the label {shown(str(value))}; needs whole numbers 0, 1, 2, ... in "
                f"every row: number the {len(distinct)} different labels, or remove the rows without one"
            )
        classes.append(int(match[1]))
    largest = max(classes, default=0)
    if largest >= max(1, len(classes)):
        raise ScenarioError(
            f"{where}: {place_of(classes.index(largest))} has the label {largest}, yet there are {len(classes)} "
            "samples; needs labels that number the classes 0, 1, 2, ... without gaps"
        )
    return torch.tensor(classes, dtype=torch.long), largest + 1
