"""Turn validation errors into sentences: file, key path, what was found, what is needed, the nearest valid choice."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hybridsplit.scenarios.agreement import disagreements
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.shown import LONGEST_CHARACTERS, shown
from hybridsplit.scenarios.variants import choices_of, models_at

_MOST_LINES = 20
_MANY_FAULTS = 100
_PLAIN_WORDS = {
    "a valid array": "a list",
    "an object": "a mapping of keys",
    "a valid dictionary": "a mapping of keys",
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "Tuple should have": "needs",
    " after validation, not 0": "",
}
"""What pydantic calls things, and what YAML and people do."""


def explain(error: ValidationError, document: Mapping[str, Any], origin: str, root: type[BaseModel] = Scenario) -> str:
    """Return one line an error, twenty at most.

    Parameters
    ----------
    error
        What pydantic found.
    document
        The document it was found in.
    origin
        Name of the document.
    root
        What the document is.
    """
    total = error.error_count()
    if total > _MANY_FAULTS:
        error = _first_faults(document, root) or error
    details = [d for d in error.errors(include_url=False) if d["type"] != "none_required"]
    # A list whose items are wrong counts as empty, too, which is a consequence and no fault of its own.
    broken = {d["loc"][:length] for d in details[:_MOST_LINES] for length in range(len(d["loc"]))}
    details = [d for d in details if not (d["type"] == "too_short" and d["loc"] in broken)]
    said: dict[str, list[str]] = {}
    for detail in details[:_MOST_LINES]:
        path = _document_path(detail["loc"], document)
        where = ".".join(part if len(part) <= LONGEST_CHARACTERS else shown(part) for part in path)
        said.setdefault(f"{origin}: {where + ': ' if path else ''}", []).append(_sentence(detail, path, document, root))
    sentences = [(where, text) for where, found in said.items() for text in _joined(found)]
    lines = [f"{where}{line}" for where, text in sentences for line in text.split("\n")]
    if root is Scenario and total <= _MANY_FAULTS:
        # Sections are compared once all are right; the user should not have to run again to hear of it.
        lines += [f"{origin}: {fault}" for fault in disagreements(document) if _is_news(fault, origin, lines)]
    if len(details) > _MOST_LINES:
        lines.append(f"{origin}: and {max(total, len(details)) - _MOST_LINES:,} more faults")
    return "\n".join(lines)


def _is_news(fault: str, origin: str, lines: Sequence[str]) -> bool:
    """Say whether nothing was said yet of a key, of what holds it, or of what it holds."""
    said = [line.removeprefix(f"{origin}: ").partition(": ")[0].split(".") for line in lines]
    path = fault.partition(": ")[0].split(".")
    return not any(path[: len(other)] == other[: len(path)] for other in said)


def _joined(sentences: Sequence[str]) -> list[str]:
    """Join what was found at one place with all that it may be: a key with a choice of forms has a fault for each."""
    needs: dict[str, dict[str, None]] = {}
    for sentence in sentences:
        found, separator, rest = sentence.partition("; needs ")
        needs.setdefault(found, {}).update({rest: None} if separator else {})
    return [f"{found}; needs {', or '.join(rest)}" if rest else found for found, rest in needs.items()]


def _first_faults(document: Mapping[str, Any], root: type[BaseModel]) -> ValidationError | None:
    """Return what is wrong with the beginning of a large document, for each fault costs as much as what it is in."""
    known = set(root.model_fields)
    unknown = list(itertools.islice((key for key in document if key not in known), _MOST_LINES + 1))
    kept = {key: value for key, value in document.items() if key in known or key in unknown}
    first = {key: value[:_MANY_FAULTS] if isinstance(value, list) else value for key, value in kept.items()}
    try:
        root.model_validate_json(json.dumps(first))
    except ValidationError as error:
        return error
    return None


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
    of_kinds = ("function-", "constrained-", "tuple[", "list[", "dict[", "literal[", "trace-")
    return part.startswith(of_kinds) or part in {"int", "float", "str", "tagged-union"}


def _sentence(detail: ErrorDetails, path: Sequence[str], document: Any, root: type[BaseModel]) -> str:
    found = shown(detail.get("input"))
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(path, document, root)
        case "missing":
            return "this key is needed and absent"
        case "value_error":
            return str(context.get("error", detail["msg"]))
        case "union_tag_invalid" | "union_tag_not_found":
            tag = str(context.get("discriminator", "")).strip("'")
            given = context.get("tag")
            expected = [value for _, value in choices_of(models_at(path, root)) if value is not None]
            present = f"found {shown(given)}" if given is not None else "this key is needed and absent"
            return f"{tag}: {present}; {_choices(str(given), expected)}"
        case "enum" | "literal_error":
            expected = re.findall(r"'([^']+)'", str(context.get("expected", ""))) or [str(context.get("expected", ""))]
            return f"found {found}; {_choices(str(detail.get('input'))[:LONGEST_CHARACTERS], expected)}"
        case "string_pattern_mismatch":
            return f"found {found}; needs letters, digits, '.', '_' or '-', and a letter or digit first"
        case kind if kind.startswith(("greater_than", "less_than")):
            return f"found {found}; needs a number {_comparison(kind, context)}"
        case _:
            message = detail["msg"].replace("Input should be", "needs").replace("Value error, ", "")
            for technical, plain in _PLAIN_WORDS.items():
                message = message.replace(technical, plain)
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


def _unknown_key(path: Sequence[str], document: Any, root: type[BaseModel]) -> str:
    """Say what a key may be meant to be: one of its section, or of another variant of it."""
    key, members = path[-1], models_at(path[:-1], root)
    here = _value_at(document, path[:-1])
    choices = choices_of(members)
    chosen = [
        member
        for member, (name, value) in zip(members, choices, strict=True)
        if name is not None and isinstance(here, Mapping) and here.get(name) == value
    ]
    valid = list(dict.fromkeys(field for member in chosen or members for field in member.model_fields))
    owners = [choice for member, choice in zip(members, choices, strict=True) if key in member.model_fields]
    if owners and (key not in valid or not chosen):
        name = str(owners[0][0])
        values = " or ".join(str(value) for _, value in owners)
        setting = name if "." in name else ".".join([*path[:-1], name])
        found = _value_at(document, setting.split("."))
        return (
            f"unknown key {key!r}, which belongs to {name}: {values}, and {setting} is {shown(found)}; set that as "
            "well, or remove the key"
        )
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"
    return f"unknown key {shown(key)}; {hint}"


def _value_at(document: Any, path: Sequence[str]) -> Any:
    here = document
    for part in path:
        if isinstance(here, Mapping):
            here = here.get(part)
        elif isinstance(here, (list, tuple)) and part.isdigit() and int(part) < len(here):
            here = here[int(part)]
        else:
            return None
    return here
