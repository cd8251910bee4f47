"""YAML as scenarios are written in it: no duplicate keys, and numbers as YAML 1.2 has them.

Parsed by libyaml where PyYAML has it, which takes a tenth of the time; its messages are worded differently, so that
what it refuses is read again, and explained, by the parser in Python.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

UNREADABLE = (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError)
"""What PyYAML raises for text that is no YAML, and for scalars that are not what their form promises."""


def _mapping_without_duplicates(loader: Any, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.MarkedYAMLError(
                problem="found a key that is a list or a mapping", problem_mark=key_node.start_mark
            )
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"found the key {key!r} twice", problem_mark=key_node.start_mark)
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
    yaml.YAMLError and what else PyYAML raises
        In the words of its parser in Python, if the text is no such document.
    """
    try:
        return yaml.load(text, Loader=_FastStrictLoader)  # noqa: S506
    except Exception:  # whatever it is, the other parser says it
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506


def plain_yaml(text: str) -> Any:
    """Read YAML that ships with the package."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
