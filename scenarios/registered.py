"""Keys whose value is of a registered kind, or names one: the schema knows ours and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from hybridsplit.scenarios.registry import Registry


@dataclass(frozen=True)
class OneOf:
    """Annotation of a key whose section is one of a registry's classes.

    Parameters
    ----------
    registry
        The classes by name.
    discriminator
        The key that names the class, or a function of the section's keys that does.
    others
        Further classes by name, which the registry does not have.
    """

    registry: Registry[Any]
    discriminator: str | Callable[[Any], str]
    others: Mapping[str, type[BaseModel]] = field(default_factory=dict)

    def members(self) -> list[type[BaseModel]]:
        """Return the classes there are now."""
        return [*self.registry.values(), *self.others.values()]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a union of the classes there are now, distinguished by the discriminator."""
        kinds = {**dict(self.registry.items()), **self.others}
        choices = {name: handler.generate_schema(kind) for name, kind in kinds.items()}
        return core_schema.tagged_union_schema(choices, self.discriminator)


@dataclass(frozen=True)
class OneName:
    """Annotation of a key that names one thing of a registry.

    Parameters
    ----------
    registry
        What may be named; plug-ins included.
    """

    registry: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return text that is checked against the names there are when it is read."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the names there are now."""
        return {"type": "string", "enum": list(self.registry)}

    def _check(self, name: str) -> str:
        if name in self.registry:
            return name
        expected = ", ".join(f"{known!r}" for known in self.registry)
        raise PydanticCustomError("enum", "Input should be one of {expected}", {"expected": expected})


def section_registry(
    kind: str, group: str, bases: tuple[type[BaseModel], ...], name_of: Callable[[Any], str]
) -> Registry[Any]:
    """Return a registry of section classes.

    Parameters
    ----------
    kind, group
        As for every registry.
    bases
        Classes of which each must derive from one.
    name_of
        Gives the name of a class.
    """

    def checked(section: object) -> Any:
        if not (isinstance(section, type) and issubclass(section, bases)):
            raise TypeError(
                f"it does not derive from {' or '.join(f'hybridsplit.plugins.{b.__name__}' for b in bases)}"
            )
        return section

    return Registry(kind, group, name_of, checked)
