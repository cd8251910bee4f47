"""Set single keys of a scenario document, as ``--set`` and the Python interface do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.yaml_text import MOST_LEVELS, UNREADABLE, TooLargeError, problem_of, strict_yaml


def override_all(document: dict[str, Any], overrides: Sequence[str] | Mapping[str, Any]) -> None:
    """Set keys of a scenario document in place.

    Parameters
    ----------
    document
        Plain values.
    overrides
        ``key.path=value`` items, whose values are read as YAML, or values by key path, which are taken as they are. A
        list item is addressed by index, or a client group, an accelerator group or an app by its name.

    Raises
    ------
    ScenarioError
        If an item is no ``key.path=value``, or its path leads nowhere.
    """
    if isinstance(overrides, Mapping):
        for path, value in overrides.items():
            _override(document, path, value, f"{_short(path)}={shown(value)}")
        return
    for item in overrides:
        path, separator, text = item.partition("=")
        if not separator or not path:
            raise ScenarioError(f"--set {_short(item)}: needs key.path=value, for example --set training.rounds=3")
        try:
            value = strict_yaml(text)
        except TooLargeError as error:
            raise ScenarioError(f"--set {_short(item)}{problem_of(error)}") from error
        except UNREADABLE as error:
            raise ScenarioError(f"--set {_short(item)}: the value is not readable as YAML") from error
        _override(document, path, value, f"--set {_short(item)}")


def _override(document: dict[str, Any], path: str, value: Any, item: str) -> None:
    target: Any = document
    keys = path.split(".")
    if len(keys) > MOST_LEVELS:
        raise ScenarioError(f"{item}: the key path has {len(keys)} parts; needs at most {MOST_LEVELS}")
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        where = ".".join(keys[: depth + 1])
        if isinstance(target, list):
            index = _index_of(target, key, where)
            if last:
                target[index] = value
            target = target[index]
        elif isinstance(target, dict):
            if last:
                target[key] = value
            elif target.get(key) is None:
                target[key] = {}
            target = target[key]
        else:
            raise ScenarioError(
                f"{item}: {_short('.'.join(keys[:depth]))} is a single value and has no key {shown(key)}"
            )


def _index_of(items: list[Any], key: str, where: str) -> int:
    groups = [item.get("group", item.get("app")) if isinstance(item, dict) else None for item in items]
    if key in groups:
        return groups.index(key)
    if key.isascii() and key.isdigit() and int(key) < len(items):
        return int(key)
    names = [str(group) for group in groups if group is not None]
    raise ScenarioError(
        f"--set {_short(where)}: no item {shown(key)}; needs an index below {len(items)} or one of "
        f"{_short(', '.join(names), 400) or '(none named)'}"
    )


def _short(text: str, longest: int = 100) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
