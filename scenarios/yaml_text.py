"""YAML as scenarios are written in it: no duplicate keys, and numbers as YAML 1.2 has them.

Parsed by libyaml where PyYAML has it, which takes a tenth of the time; its messages are worded differently, so that
what it refuses is read again, and explained, by the parser in Python. Before anything is built, one pass over the
parser's events refuses text that would be far larger than it looks.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hybridsplit.scenarios.shown import gist, shown
from hybridsplit.scenarios.units import MIB, format_bytes

UNREADABLE = (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError)
"""What PyYAML raises for text that is no YAML, and for scalars that are not what their form promises."""

MOST_LEVELS = 64
"""Levels of lists and mappings within each other, of any document that is read."""
_LARGEST_FILE_BYTES = 64 * MIB
_MOST_REPEATED = 100_000
"""Values that aliases may add to those that are written out."""
_CHARACTERS_OF_A_VALUE = 64
_LONGEST_NUMBER = 1_000
_NUMBER = re.compile(r"[-+]?[0-9.][-+0-9._:a-zA-Z]*", re.ASCII)
_EXPLAINED_CHARACTERS = 200_000
_SHOWN_CHARACTERS = 200


class TooLargeError(yaml.MarkedYAMLError):
    """The text is too deep, too long where it says a number, or repeats itself too often."""


def _mapping_without_duplicates(loader: Any, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.MarkedYAMLError(
                problem="found a key that is a list or a mapping", problem_mark=key_node.start_mark
            )
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"found the key {shown(key)} twice", problem_mark=key_node.start_mark)
        seen.add(key)
    found: dict[Hashable, Any] = loader.construct_mapping(node, deep=True)
    return found


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and reads ``1e-3`` as a number (YAML 1.2 core schema)."""


class _FastStrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same by libyaml."""


for _loader in (_StrictLoader, _FastStrictLoader):
    _loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
    _loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def strict_yaml(text: str) -> Any:
    """Read one YAML document.

    Raises
    ------
    TooLargeError
        If it has more than 64 levels, a number of more than 1,000 characters, or aliases that repeat more than 100,000
        values.
    yaml.YAMLError and what else PyYAML raises
        In the words of its parser in Python, if the text is no such document.
    """
    try:
        with _without_collections():
            _check_size(text)
            return yaml.load(text, Loader=_FastStrictLoader)  # noqa: S506
    except TooLargeError:
        raise
    except Exception:  # whatever it is, the other parser says it, unless that would take long
        if len(text) > _EXPLAINED_CHARACTERS:
            raise
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506


@contextmanager
def _without_collections() -> Iterator[None]:
    """Let the garbage collector rest: what is read has no cycles, and to walk it again and again takes longer."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read_limited(path: Path) -> str:
    """Return the UTF-8 text of a file that the user named.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, is no such text, or is larger than 64 MiB.
    """
    size_bytes = path.stat().st_size
    if size_bytes > _LARGEST_FILE_BYTES:
        raise ValueError(f"found {format_bytes(size_bytes)}; at most {format_bytes(_LARGEST_FILE_BYTES)} are read")
    return path.read_text(encoding="utf-8")


def problem_of(error: Exception) -> str:
    """Return where text is not readable and why, to follow its name in a message: ``, line 3: found ...``."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None)
    if problem is None:
        problem = f"it is not readable as YAML ({gist(error)})"
    return f"{where}: {problem if len(problem) <= _SHOWN_CHARACTERS else problem[:_SHOWN_CHARACTERS] + '...'}"


def plain_yaml(text: str) -> Any:
    """Read YAML that ships with the package."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def _check_size(text: str) -> None:
    """Count values as aliases expand, without expanding them; an alias costs what it names."""
    written = 0
    open_anchors: list[str | None] = []
    counts = [0]
    size_of: dict[str, int] = {}
    for event in yaml.parse(text, Loader=_FastStrictLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append(event.anchor)
            counts.append(0)
            if len(open_anchors) > MOST_LEVELS:
                raise _too_large(f"found more than {MOST_LEVELS} levels of lists and mappings within each other", event)
            continue
        if isinstance(event, yaml.ScalarEvent):
            _check_number(event)
            size, anchor = 1 + len(event.value) // _CHARACTERS_OF_A_VALUE, event.anchor
            written += size
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = 1 + counts.pop(), open_anchors.pop()
            written += 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                raise _too_large(f"found the alias *{shown(event.anchor)} inside of what it names", event)
            size, anchor = size_of.get(str(event.anchor), 0), None
        else:
            continue
        counts[-1] += size
        if anchor is not None:
            size_of[anchor] = size
        if counts[-1] - written > _MOST_REPEATED:
            raise _too_large(
                f"found aliases that repeat more than {_MOST_REPEATED:,} values; write out what differs, or state like "
                "clients as one group with a count",
                event,
            )


def _check_number(event: yaml.ScalarEvent) -> None:
    if len(event.value) > _LONGEST_NUMBER and event.implicit[0] and _NUMBER.fullmatch(event.value):
        raise _too_large(f"found a number of {len(event.value)} characters; put it in quotes if it is text", event)


def _too_large(problem: str, event: Any) -> TooLargeError:
    return TooLargeError(problem=problem, problem_mark=event.start_mark)
