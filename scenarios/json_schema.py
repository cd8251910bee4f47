"""The JSON Schema of a scenario, for editors, with the attribute docstrings of the sections as descriptions.

Pydantic can read the docstrings while it builds a model, which parses the source of every section whenever a scenario
is loaded; here they are read when a schema is asked for.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from hybridsplit.scenarios.device_changes import LIKE
from hybridsplit.scenarios.devices import Device
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.relays.schema import RelayScenario
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.variants import models_of


def json_schema() -> dict[str, Any]:
    """Return the schema: that of an inference task where the key ``task`` is there, of relays where ``network`` is."""
    parts: dict[str, Any] = {}
    for root in (Scenario, InferenceScenario, RelayScenario):
        schema = root.model_json_schema()
        definitions = schema.pop("$defs", {})
        definitions[root.__name__] = schema
        for model in _models(root, set()):
            for name, text in _attribute_docstrings(model).items():
                if name in model.model_fields and model.model_fields[name].description is None:
                    definitions[model.__name__]["properties"][name]["description"] = text
        parts |= definitions
    # Under ``devices``, a device of the catalogue may be changed in part.
    parts[Device.__name__].pop("required", None)
    parts[Device.__name__]["properties"][LIKE] = {
        "type": "string",
        "description": "Device of the catalogue whose figures it has where it states no others.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hybridsplit scenario",
        "type": "object",
        "if": {"required": ["task"]},
        "then": {"$ref": f"#/$defs/{InferenceScenario.__name__}"},
        "else": {
            "if": {"required": ["network"]},
            "then": {"$ref": f"#/$defs/{RelayScenario.__name__}"},
            "else": {"$ref": f"#/$defs/{Scenario.__name__}"},
        },
        "$defs": parts,
    }


def _models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in models_of(field):
            yield from _models(inner, seen)


def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Docstrings below the attributes of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if parent is BaseModel or not issubclass(parent, BaseModel):
            continue
        (definition,) = ast.parse(inspect.cleandoc(f"\n{inspect.getsource(parent)}")).body
        assert isinstance(definition, ast.ClassDef)
        for statement, after in zip(definition.body, definition.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                found[statement.target.id] = inspect.cleandoc(after.value.value)
    return found
