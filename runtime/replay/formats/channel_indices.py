"""Channel quality and modulation indices as spectral efficiencies, by the tables of 3GPP TS 38.214."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from hybridsplit.scenarios.errors import ScenarioError

TABLES = ("cqi-1", "cqi-2", "mcs-1", "mcs-2", "mcs-3")


def efficiency_of(index: float, table: str, where: str) -> float:
    """Return the spectral efficiency that an index stands for, bit/s per Hz.

    Parameters
    ----------
    index
        A CQI (0 is out of range, and carries nothing) or an MCS index.
    table
        One of :data:`TABLES`.
    where
        Place of the index, for messages.

    Raises
    ------
    ScenarioError
        If the table has no such index; reserved ones name no code rate.
    """
    rows = efficiencies(table)
    if not (math.isfinite(index) and index == int(index) and int(index) in rows):
        raise ScenarioError(
            f"{where}: found the index {index:g}; needs a whole number from {min(rows)} to {max(rows)}, as table "
            f"{table} has (larger ones are reserved)"
        )
    return rows[int(index)]


@cache
def efficiencies(table: str) -> Mapping[int, float]:
    """Return a table: bit/s per Hz by index, modulation order times code rate.

    Parameters
    ----------
    table
        One of :data:`TABLES`.
    """
    text = Path(__file__).with_name("nr_indices.yaml").read_text(encoding="utf-8")
    rows = yaml.safe_load(text)[table]
    first = 1 if table.startswith("cqi") else 0
    found = {first + number: order * rate_x1024 / 1024 for number, (order, rate_x1024) in enumerate(rows)}
    return {0: 0.0, **found} if first else found
