"""Documents are made of plain values, those that JSON has; anything else is named by its key path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.yaml_text import MOST_LEVELS

_LONGEST_INTEGER_BITS = 4_096


def check_plain(document: Mapping[Any, Any], origin: str) -> None:
    """Check that a document holds nothing but text, numbers, true, false, null, lists and mappings of these.

    Parameters
    ----------
    document
        Any values.
    origin
        Name of the document in messages.

    Raises
    ------
    ScenarioError
        If it holds another value, such as a date, or is more than 64 levels deep; the message names the key path.
    """
    todo: list[tuple[tuple[object, ...], Any]] = [((), document)]
    while todo:
        path, value = todo.pop()
        if len(path) > MOST_LEVELS:
            raise ScenarioError(
                f"{origin}: {_dotted(path)}: found more than {MOST_LEVELS} levels of lists and mappings within each "
                "other"
            )
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if not isinstance(key, (str, int, float)) and key is not None:
                    raise ScenarioError(_not_plain(origin, (*path, "(key)"), key))
                if isinstance(key, str):
                    _check_text(key, path, origin)
                todo.append(((*path, key), inner))
        elif isinstance(value, (list, tuple)):
            todo.extend(((*path, index), inner) for index, inner in enumerate(value))
        elif isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER_BITS:
            raise ScenarioError(f"{origin}: {_dotted(path)}: found {shown(value)}; needs a number that is in use")
        elif isinstance(value, str):
            _check_text(value, path, origin)
        elif not (value is None or isinstance(value, (int, float))):
            raise ScenarioError(_not_plain(origin, path, value))


def _check_text(value: str, path: tuple[object, ...], origin: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ScenarioError(
            f"{origin}: {_dotted(path)}: found {shown(value[error.start : error.end])} in the text, half of a "
            "character; needs text that UTF-8 can write"
        ) from error


def _not_plain(origin: str, path: tuple[object, ...], value: object) -> str:
    return (
        f"{origin}: {_dotted(path)}: found {shown(value)} ({type(value).__name__}); needs text, a number, true or "
        "false: put it in quotes if it is text"
    )


def _dotted(path: tuple[object, ...]) -> str:
    """Return a key path, its middle left out where it is long."""
    parts = [part if isinstance(part, str) and len(part) <= 60 else shown(part) for part in path]
    return ".".join([*parts[:6], "...", *parts[-2:]] if len(parts) > 10 else parts)
