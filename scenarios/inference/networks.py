"""Find the layer list that a scenario names: one that ships with the package, or a file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.inference.layers import LayerList
from hybridsplit.scenarios.messages import explain
from hybridsplit.scenarios.plain import check_plain
from hybridsplit.scenarios.shown import gist, shown
from hybridsplit.scenarios.yaml_text import UNREADABLE, plain_yaml, problem_of, read_limited, strict_yaml

_NETWORKS = Path(__file__).with_name("networks")


def network_names() -> list[str]:
    """Names of the layer lists that ship with the package."""
    return sorted(path.stem for path in _NETWORKS.glob("*.yaml"))


@cache
def builtin_network(name: str) -> LayerList:
    """Return a layer list that ships with the package.

    Parameters
    ----------
    name
        Its name.
    """
    values = plain_yaml((_NETWORKS / f"{name}.yaml").read_text(encoding="utf-8"))
    return LayerList.model_validate_json(json.dumps(values))


def network_values(named: str, folder: Path | None, where: str) -> dict[str, Any]:
    """Return the values of the layer list that a scenario names, for its resolved form.

    Parameters
    ----------
    named
        A name of :func:`network_names`, or the path of a YAML file.
    folder
        Folder that relative names start from; files are not read when None.
    where
        Key path that names it, for messages.

    Raises
    ------
    ScenarioError
        If there is no such list or anything in it is wrong.
    """
    if named in network_names():
        return builtin_network(named).model_dump(mode="json", exclude_defaults=True)
    path = folder / named if folder is not None else None
    try:
        is_file = path is not None and path.is_file()
    except (OSError, ValueError):
        is_file = False
    if path is None or not is_file:
        near = difflib.get_close_matches(named, network_names(), n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ScenarioError(
            f"{where}: found {shown(named)}; needs a YAML file of layers, or one of {', '.join(network_names())}{hint}"
        )
    try:
        document = strict_yaml(read_limited(path))
    except UNREADABLE as error:
        raise ScenarioError(f"{where}: {path}{problem_of(error)}; needs a layer list") from error
    except OSError as error:
        raise ScenarioError(f"{where}: {path}: cannot be read ({gist(error)}); needs a layer list") from error
    return checked_network(document, f"{where}: {path}").model_dump(mode="json", exclude_defaults=True)


def checked_network(document: object, where: str) -> LayerList:
    """Check the values of a layer list.

    Parameters
    ----------
    document
        Its values.
    where
        Where they stand, for messages.

    Raises
    ------
    ScenarioError
        If anything in it is wrong; the message names the key path.
    """
    if not isinstance(document, Mapping):
        raise ScenarioError(f"{where}: found {type(document).__name__}; needs a mapping with the keys input and layers")
    check_plain(document, where)
    try:
        return LayerList.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise ScenarioError(explain(error, document, where, LayerList)) from error
