"""The reference as Markdown: keys of a scenario from its schema, commands from their help, and public names."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer

import hybridsplit
from hybridsplit.orchestrator.command_line import COMMANDS, application
from hybridsplit.scenarios.json_schema import json_schema

Schema = Mapping[str, Any]

_KINDS = {
    "Scenario": "A training task",
    "RelayScenario": "A training task over relays",
    "InferenceScenario": "An inference task",
}

_LARGEST_STATED = 2**62
"""Bounds beyond this are those of the number's format, and not stated."""


def scenario_keys() -> str:
    """Return a section for every mapping of a scenario, with its keys, their values, defaults and meanings."""
    definitions = json_schema()["$defs"]
    text = [
        "# Keys of a scenario",
        "",
        "Made from the schema that every scenario is checked against (`hybridsplit scenarios --schema`).",
        "[Write a scenario](../scenarios.md) explains them by what they are for.",
    ]
    for name, heading in _KINDS.items():
        text += ["", f"## {heading}", "", *_described(definitions[name]), *_table(definitions[name], definitions)]
    for name in sorted(set(definitions) - set(_KINDS)):
        if definitions[name].get("properties"):
            text += ["", f"## {name}", "", *_described(definitions[name]), *_table(definitions[name], definitions)]
    return "\n".join(text) + "\n"


def _described(schema: Schema) -> list[str]:
    description = inspect.cleandoc(schema.get("description", ""))
    return [_cell(description.split("\n\n")[0]), ""] if description else []


def _table(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    required = schema.get("required", ())
    for key, value in schema["properties"].items():
        default = "required" if key in required else _default(value)
        yield f"| `{key}` | {_values(value, definitions)} | {_cell(default)} | {_cell(value.get('description', ''))} |"


def _default(schema: Schema) -> str:
    if "default" not in schema:
        return ""
    if schema["default"] is None:
        return "none"
    return "those of its keys" if isinstance(schema["default"], dict) else f"`{json.dumps(schema['default'])}`"


def _values(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        target = definitions[name]
        return f"[{name}](#{name.lower()})" if target.get("properties") else _values(target, definitions)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_values(choice, definitions) for choice in choices))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        inner = schema.get("items")
        return f"list of {_values(inner, definitions)}" if isinstance(inner, dict) and inner else "list"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"mapping of {_values(inner, definitions)}" if isinstance(inner, dict) and inner else "mapping"
    bounds = [
        f"{sign} {schema[word]:g}"
        for word, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤"))
        if word in schema and abs(schema[word]) < _LARGEST_STATED
    ]
    return " ".join([str(schema.get("type", "any value")), ", ".join(bounds)]).strip()


def commands() -> str:
    """Return a section for every command, with its arguments and options."""
    group = typer.main.get_command(application())
    text = ["# Commands", "", "Made from the commands themselves (`hybridsplit COMMAND --help`)."]
    for name in COMMANDS:
        command = group.commands[name]  # type: ignore[attr-defined]
        text += ["", f"## {name}", "", _plain(inspect.cleandoc(command.help or "")), ""]
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        shown = [f"{one.name}".upper() if one.required else f"[{one.name}]".upper() for one in arguments]
        text += ["```text", " ".join(["hybridsplit", name, *shown, "[OPTIONS]"]), "```", ""]
        text += ["| argument or option | meaning |", "|---|---|"]
        for parameter in command.params:
            names = ", ".join([*parameter.opts, *parameter.secondary_opts])
            if parameter.param_type_name == "argument":
                names = (parameter.name or "").upper()
            text.append(f"| `{names}` | {_cell(_plain(getattr(parameter, 'help', None) or ''))} |")
    return "\n".join(text) + "\n"


def public_names() -> str:
    """Return a section for every public name, which autodoc fills from its docstring."""
    text = [
        "# Public names of Python",
        "",
        "What `import hybridsplit as hs` offers; [from Python](../python.md) shows it at work.",
    ]
    names = [name for name in hybridsplit.__all__ if not name.startswith("_")]
    functions = [name for name in names if name[0].islower()]
    values = [name for name in names if name[0].isupper()]
    for heading, directive, chosen in (
        ("Functions", "autofunction", functions),
        ("Values and errors", "autoclass", values),
    ):
        text += ["", f"## {heading}"]
        for name in chosen:
            text += ["", f"### {name}", "", "```{eval-rst}", f".. {directive}:: hybridsplit.{name}", "```"]
    return "\n".join(text) + "\n"


def _plain(text: str) -> str:
    """Return help without the marks that colour it on a terminal."""
    return re.sub(r"\[/?[a-z ]*\]", "", text)


def _cell(text: str) -> str:
    """Return text as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
