"""Sections by key path, and the variants among which a key such as ``scheme`` or ``name`` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hybridsplit.scenarios.registered import OneOf
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.network import LINK_MODELS


def models_at(path: Sequence[str], root: type[BaseModel] = Scenario) -> list[type[BaseModel]]:
    """Return the sections that the schema of a document knows at a key path, over all variants."""
    found: list[type[BaseModel]] = [root]
    for part in path:
        found = [inner for model in found for inner in _step(model, part)]
    return list(dict.fromkeys(found))


def choices_of(models: Sequence[type[BaseModel]]) -> list[tuple[str | None, str | None]]:
    """Return the key and value that choose each of several variants; None where nothing does."""
    if len(models) > 1:
        for name in models[0].model_fields:
            values = [_literal(model, name) for model in models]
            if all(values):
                return [(name, value) for value in values]
    links = {section: name for name, section in LINK_MODELS.items()}
    return [("radio.link_model", links[model]) if model in links else (None, None) for model in models]


def models_of(field: FieldInfo) -> list[type[BaseModel]]:
    """Return the models that a field may hold, those of plug-ins included."""
    registered = [kind for one in field.metadata if isinstance(one, OneOf) for kind in one.members()]
    return registered or _models_in(field.annotation)


def _literal(model: type[BaseModel], name: str) -> str | None:
    """Return the only text that a field may hold."""
    annotation = model.model_fields[name].annotation if name in model.model_fields else None
    values = get_args(annotation) if get_origin(annotation) is Literal else ()
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _step(model: type[BaseModel], part: str) -> list[type[BaseModel]]:
    if part not in model.model_fields:
        return [model] if part.isdigit() or model.__name__ in ("Device", "Accelerator") else []
    return models_of(model.model_fields[part])


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names, over all members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict) or hasattr(annotation, "__metadata__"):
        return [model for inner in get_args(annotation) for model in _models_in(inner)]
    return []
