"""Which keys a transformers configuration takes: its fields, their other names, and what its code reads besides."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from hybridsplit.scenarios.errors import ScenarioError

_EVERYWHERE = frozenset({"num_labels", "torch_dtype", "output_attentions"})
"""Keys that every configuration takes without a field of that name."""
_ROTARY = frozenset({"rope_theta", "rope_scaling", "partial_rotary_factor"})
"""Keys of rotary embeddings as they were before ``rope_parameters``, which transformers converts."""


def check_keys(stated: Mapping[str, Any], config_class: Any, where: str = "model.config") -> None:
    """Refuse keys that a configuration, or one that is nested in it, does not take.

    Parameters
    ----------
    stated
        Keys and values by which a configuration is stated.
    config_class
        Its class.
    where
        Path of the configuration in the scenario, for the message.

    Raises
    ------
    ScenarioError
        If a key is unknown; the message names the nearest valid one.
    """
    valid = known_keys(config_class)
    for key, value in stated.items():
        if key == "model_type":
            continue
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"{config_class.__name__} has no such key"
            raise ScenarioError(f"{where}.{key}: unknown key {key!r}; {hint}")
        nested = _nested_class(config_class, key, value)
        if nested is not None:
            check_keys(value, nested, f"{where}.{key}")


def known_keys(config_class: Any) -> frozenset[str]:
    """Return the keys that a configuration class takes.

    Parameters
    ----------
    config_class
        A configuration class of transformers.
    """
    own = {field.name for field in fields(config_class)} if is_dataclass(config_class) else set()
    keys = own | set(config_class.attribute_map) | _EVERYWHERE
    if "rope_parameters" in own:
        keys |= _ROTARY
    for base in config_class.__mro__:
        if base.__module__.startswith("transformers.models."):
            keys |= set(_popped(_tree(inspect.getsource(base))))
    # The outer of several configurations is read for its own fields; the same module reads the keys of the nested.
    if not config_class.sub_configs:
        modelling = config_class.__module__.replace(".configuration_", ".modeling_")
        found = importlib.util.find_spec(modelling)
        if found is not None and found.origin is not None:
            keys |= set(_read(_tree(Path(found.origin).read_text(encoding="utf-8"))))
    return frozenset(key for key in keys if not key.startswith("_"))


def _nested_class(config_class: Any, key: str, value: Any) -> Any:
    """The class of a configuration nested under a key, or None."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    nested = config_class.sub_configs.get(key)
    if nested is None or not isinstance(value, Mapping):
        return None
    if is_dataclass(nested):
        return nested
    model_type = value.get("model_type", config_class.sub_configs_defaults[key].model_type)
    return CONFIG_MAPPING[model_type] if model_type in CONFIG_MAPPING else None  # noqa: SIM401


def _tree(source: str) -> ast.AST:
    return ast.parse(inspect.cleandoc(source))


def _popped(tree: ast.AST) -> Iterator[str]:
    """Keys that a configuration takes out of its remaining arguments."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("pop", "get")
            and _name(node.func.value) == "kwargs"
            and node.args
        ):
            yield from _text(node.args[0])


def _read(tree: ast.AST) -> Iterator[str]:
    """Keys that the code of a model reads from its configuration."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _name(node.value) == "config":
            if not hasattr(PreTrainedConfig, node.attr):
                yield node.attr
        elif (
            isinstance(node, ast.Call)
            and _name(node.func) in ("getattr", "hasattr")
            and len(node.args) > 1
            and _name(node.args[0]) == "config"
        ):
            yield from _text(node.args[1])


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
