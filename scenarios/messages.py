"""Turn validation errors into sentences: file, key path, what was found, what is needed, the nearest valid choice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hybridsplit.scenarios.registered import OneOf
from hybridsplit.scenarios.schema import Scenario


def explain(error: ValidationError, document: Mapping[str, Any], origin: str) -> str:
    """Return one line an error.

    Parameters
    ----------
    error
        What pydantic found.
    document
        The document it was found in.
    origin
        Name of the document.
    """
    details = [d for d in error.errors(include_url=False) if d["type"] != "none_required"]
    lines: list[str] = []
    for detail in details:
        path = _document_path(detail["loc"], document)
        line = f"{origin}: {'.'.join(path) + ': ' if path else ''}{_sentence(detail, path)}"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def _document_path(location: Sequence[int | str], document: Any) -> list[str]:
    """Drop the names of union members, which pydantic puts into the path and the document does not have."""
    path: list[str] = []
    here = document
    for position, part in enumerate(location):
        if isinstance(here, dict) and part in here:
            here = here[str(part)]
        elif isinstance(here, (list, tuple)) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif position < len(location) - 1 or _is_member_name(str(part)):
            continue
        path.append(str(part))
    return path


def _is_member_name(part: str) -> bool:
    return part.startswith(("function-", "constrained-")) or part in {"int", "float", "str", "tagged-union"}


def _sentence(detail: ErrorDetails, path: Sequence[str]) -> str:
    found = _shorten(detail.get("input"))
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            valid = _valid_keys(path[:-1])
            near = difflib.get_close_matches(path[-1], valid, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"
            return f"unknown key {path[-1]!r}; {hint}"
        case "missing":
            return "this key is needed and absent"
        case "value_error":
            return str(context.get("error", detail["msg"]))
        case "union_tag_invalid" | "union_tag_not_found":
            tag = str(context.get("discriminator", "")).strip("'")
            given = str(context.get("tag", "nothing"))
            expected = [
                name.strip(" '") for name in str(context.get("expected_tags", "")).split(",") if name.strip(" '")
            ]
            return f"{tag}: found {given!r}; {_choices(given, expected)}"
        case "enum" | "literal_error":
            expected = re.findall(r"'([^']+)'", str(context.get("expected", ""))) or [str(context.get("expected", ""))]
            return f"found {found}; {_choices(str(detail.get('input')), expected)}"
        case "string_pattern_mismatch":
            return f"found {found}; needs letters, digits, '.', '_' or '-', and a letter or digit first"
        case kind if kind.startswith(("greater_than", "less_than")):
            return f"found {found}; needs a number {_comparison(kind, context)}"
        case _:
            message = detail["msg"].replace("Input should be", "needs").replace("Value error, ", "")
            return f"found {found}; {message[0].lower()}{message[1:]}"


def _comparison(kind: str, context: Mapping[str, Any]) -> str:
    limit = next((context[key] for key in ("gt", "ge", "lt", "le") if key in context), "?")
    words = {
        "greater_than": "above",
        "greater_than_equal": "of at least",
        "less_than": "below",
        "less_than_equal": "of at most",
    }
    return f"{words[kind]} {limit}"


def _choices(given: str, expected: Iterable[str]) -> str:
    choices = list(expected)
    near = difflib.get_close_matches(given, choices, n=1, cutoff=0.5)
    return f"needs one of {', '.join(choices)}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _valid_keys(path: Sequence[str]) -> list[str]:
    """Keys that the schema knows at a path, over all members of a union."""
    candidates: list[Any] = [Scenario]
    for part in path:
        candidates = [inner for candidate in candidates for inner in _step(candidate, part)]
    keys: dict[str, None] = {}
    for candidate in candidates:
        keys.update(dict.fromkeys(candidate.model_fields))
    return list(keys)


def _step(model: type[BaseModel], part: str) -> list[type[BaseModel]]:
    if part not in model.model_fields:
        return [model] if part.isdigit() or model.__name__ == "Device" else []
    return models_of(model.model_fields[part])


def models_of(field: FieldInfo) -> list[type[BaseModel]]:
    """Return the models that a field may hold, those of plug-ins included."""
    registered = [kind for one in field.metadata if isinstance(one, OneOf) for kind in one.members()]
    return registered or _models_in(field.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names, over all members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict) or hasattr(annotation, "__metadata__"):
        return [model for inner in get_args(annotation) for model in _models_in(inner)]
    return []
