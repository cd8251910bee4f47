"""How values of the user's are shown in messages: short, on one line."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

LONGEST_CHARACTERS = 60


def shown(value: object, longest: int = LONGEST_CHARACTERS) -> str:
    """Return a value as Python writes it, cut to a length.

    Parameters
    ----------
    value
        Anything; of long text and large collections only the beginning is looked at.
    longest
        Most characters.
    """
    text = repr(_beginning(value, longest))
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def gist(error: Exception, longest: int = 200) -> str:
    """Return what an error of another library says, cut to a length; of the operating system's, without the path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _beginning(value: Any, longest: int, depth: int = 0) -> Any:
    """Return as much of a value as can be shown, so that a large one costs no more than a small one."""
    if isinstance(value, (str, bytes)):
        return value[: longest + 1]
    if isinstance(value, int) and value.bit_length() > 4 * longest:
        return _Digits(value)
    if depth > longest:
        return ...
    if isinstance(value, Mapping):
        items = itertools.islice(value.items(), longest)
        return {_beginning(key, longest, depth + 1): _beginning(item, longest, depth + 1) for key, item in items}
    if isinstance(value, (list, tuple)):
        return type(value)(_beginning(item, longest, depth + 1) for item in itertools.islice(value, longest))
    return value


class _Digits:
    """A number that is too long to be written out, and for Python to turn into text."""

    def __init__(self, value: int) -> None:
        self._digits = round(value.bit_length() * 0.30103)

    def __repr__(self) -> str:
        return f"a number of about {self._digits} digits"
