"""Which cases of a parametrised test run every time, and which in the slow tier (``make test-slow``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_of(number: int, values: Iterable[Any]) -> list[Any]:
    """Return the values, all but one of so many marked slow, the first one of each stretch not.

    Parameters
    ----------
    number
        Length of a stretch.
    values
        The values of a parameter.
    """
    return [
        value if place % number == 0 else pytest.param(value, marks=pytest.mark.slow)
        for place, value in enumerate(values)
    ]


def one_row_of(number: int, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return rows of several parameters as :func:`one_of` does values of one.

    Parameters
    ----------
    number, rows
        Length of a stretch, and a tuple of values for every case.
    """
    return [
        row if place % number == 0 else pytest.param(*row, marks=pytest.mark.slow) for place, row in enumerate(rows)
    ]
