"""What a plan would be if single keys of a scenario were others: one plan for every combination of values."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hybridsplit.orchestrator.studies.what_if_cells import Cell, Trained, cell_of_cut
from hybridsplit.scenarios.devices import catalogue
from hybridsplit.scenarios.errors import InfeasibleError, ScenarioError, UsageError
from hybridsplit.scenarios.loader import trained_of_values
from hybridsplit.scenarios.yaml_text import UNREADABLE, strict_yaml

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS = 100
"""Combinations that are planned for; each is a scenario of its own, to be profiled and solved."""
_FACTOR = re.compile(r"(\d+(?:\.\d+)?|\.\d+)x", re.ASCII)


@dataclass(frozen=True)
class Varied:
    """A key and what it is to be.

    Parameters
    ----------
    key
        Its path, as ``--set`` takes it.
    texts
        The values, as they were given: ``0.5x`` is a factor of what the scenario says, all else is YAML.
    """

    key: str
    texts: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class WhatIf:
    """All combinations.

    Parameters
    ----------
    scenario, strategy, minimises
        What was varied, how it was planned, and what for.
    varied
        The keys and values.
    cells
        One a combination, the last key changing first.
    """

    scenario: str
    strategy: str
    minimises: str
    varied: tuple[Varied, ...]
    cells: tuple[Cell, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a combination: a column a key, then the fields of :class:`Cell`."""
        import pandas as pd

        rows = [{**cell.values, **asdict(cell)} for cell in self.cells]
        return pd.DataFrame(rows).drop(columns="values")

    def _repr_html_(self) -> str:
        from hybridsplit.orchestrator.views.notebook import fragment
        from hybridsplit.orchestrator.views.what_if import infeasible_lines, what_if_table

        return fragment(what_if_table(self), *infeasible_lines(self))

    def __repr__(self) -> str:
        """Return how many combinations have a plan, and the best of them."""
        known = [cell for cell in self.cells if cell.objective is not None]
        best = min(known, key=lambda cell: cell.objective or 0.0, default=None)
        named = "" if best is None else f"; least {self.minimises} at " + ", ".join(map("=".join, best.values.items()))
        return f"WhatIf of {self.scenario}: {len(known)} of {len(self.cells)} combinations have a plan{named}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "scenario": self.scenario,
            "strategy": self.strategy,
            "objective": self.minimises,
            "varied": {one.key: list(one.texts) for one in self.varied},
            "cells": [asdict(cell) for cell in self.cells],
        }


def parse_varied(items: Sequence[str]) -> tuple[Varied, ...]:
    """Read ``key.path=value,value,...`` items.

    Parameters
    ----------
    items
        As ``--vary`` takes them.

    Raises
    ------
    UsageError
        If an item is none, a key or a value occurs twice, or there are more combinations than are planned for.
    """
    found: list[Varied] = []
    for item in items:
        key, separator, text = item.partition("=")
        texts = tuple(part.strip() for part in text.split(","))
        if not separator or not key or not all(texts):
            raise UsageError(
                f"vary {item[:100]}: needs key.path=value,value,..., for example radio.uplink_hz=0.5x,1x,2x"
            )
        found.append(Varied(key, texts))
    return _checked(found)


def varied_of(values: Mapping[str, Iterable[Any]]) -> tuple[Varied, ...]:
    """Return keys and values of Python as they would be written: text as it is, all else as JSON, which YAML reads.

    Parameters
    ----------
    values
        The values of every key; parts of its path are joined by dots or by ``__``.

    Raises
    ------
    UsageError
        If a key has no values or a value cannot be written, or as :func:`parse_varied` does.
    """
    found: list[Varied] = []
    for key, of_key in values.items():
        if isinstance(of_key, (str, bytes)) or not isinstance(of_key, Iterable):
            raise UsageError(f"vary {key}: found {of_key!r}; needs a list of values, for example ['0.5x', '1x', '2x']")
        try:
            texts = tuple(value if isinstance(value, str) else json.dumps(value) for value in of_key)
        except TypeError as error:
            raise UsageError(f"vary {key}: a value is neither text, number, list nor mapping ({error})") from error
        if not texts or not all(texts):
            raise UsageError(f"vary {key}: found no value, or an empty one; needs values, for example ['0.5x', '2x']")
        found.append(Varied(key.replace("__", "."), texts))
    return _checked(found)


def _checked(found: Sequence[Varied]) -> tuple[Varied, ...]:
    """Return keys and values that are different from one another, and not too many."""
    keys = [one.key for one in found]
    for one in found:
        if len(set(one.texts)) < len(one.texts) or keys.count(one.key) > 1:
            raise UsageError(
                f"vary {one.key}={','.join(one.texts)[:100]}: names a key or a value twice; name each once"
            )
    if not found:
        raise UsageError("vary: needs at least one key, for example radio.uplink_hz=0.5x,1x,2x")
    number = math.prod(len(one.texts) for one in found)
    if number > MOST_CELLS:
        raise UsageError(
            f"vary: found {number:,} combinations; needs at most {MOST_CELLS}: vary fewer keys or values at a time"
        )
    return tuple(found)


def what_if(
    scenario: Trained,
    varied: Sequence[Varied],
    strategy: str = "optimal",
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    cell_of: Callable[[Mapping[str, str], Trained, str], Cell] = cell_of_cut,
) -> WhatIf:
    """Plan for every combination.

    Parameters
    ----------
    scenario
        What is varied.
    varied
        The keys and values.
    strategy
        How to plan.
    on_progress
        Called with what is being planned and the share done.
    cell_of
        Plans a scenario by a strategy, and returns the cell of some values.

    Raises
    ------
    ScenarioError, UsageError
        If a value is none of its key, or a factor is of something that is no number.
    SolverFailure
        If a solver stopped. A combination without a plan is a cell that says why.
    """
    base = scenario.resolved()
    combinations = list(itertools.product(*(one.texts for one in varied)))
    # All values are checked before the first is planned for.
    scenarios = [
        _changed(base, {one.key: text for one, text in zip(varied, texts, strict=True)}) for texts in combinations
    ]
    cells = []
    for index, (texts, changed) in enumerate(zip(combinations, scenarios, strict=True)):
        on_progress(f"{', '.join(texts)} ({index + 1} of {len(combinations)})", index / len(combinations))
        values = {one.key: text for one, text in zip(varied, texts, strict=True)}
        try:
            cells.append(cell_of(values, changed, strategy))
        except InfeasibleError as error:
            cells.append(Cell(values, infeasible=str(error)))
    return WhatIf(scenario.name, strategy, scenario.objective.minimise, tuple(varied), tuple(cells))


def _changed(base: Mapping[str, Any], values: Mapping[str, str]) -> Trained:
    changes = {key: _value(base, key, text) for key, text in values.items()}
    try:
        # Files of devices are in the resolved scenario already.
        return trained_of_values({**base, "device_files": []}, changes)
    except ScenarioError as error:
        which = ", ".join(f"{key}={text}" for key, text in values.items())
        raise ScenarioError(f"vary {which}: {error}") from error


def _value(base: Mapping[str, Any], key: str, text: str) -> Any:
    factor = _FACTOR.fullmatch(text)
    if factor is None:
        try:
            return strict_yaml(text)
        except UNREADABLE as error:
            raise UsageError(f"vary {key}={text[:100]}: the value is not readable as YAML") from error
    known = {name: device.model_dump(mode="json") for name, device in catalogue().items()}
    numbers = list(_found({**base, "devices": {**known, **base["devices"]}}, key.split(".")))
    if len(numbers) != 1 or isinstance(numbers[0], bool) or not isinstance(numbers[0], (int, float)):
        raise UsageError(
            f"vary {key}={text}: a factor needs a number to multiply, and the scenario has none there; give values "
            "instead, for example 10 MHz"
        )
    product = numbers[0] * float(factor[1])
    return round(product) if isinstance(numbers[0], int) else product


def _found(here: Any, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield here
    elif isinstance(here, Mapping) and path[0] in here:
        yield from _found(here[path[0]], path[1:])
    elif isinstance(here, list):
        for index, item in enumerate(here):
            if path[0] == str(index) or (isinstance(item, Mapping) and item.get("group") == path[0]):
                yield from _found(item, path[1:])
