"""Check the document of an inference task, with the layer lists that it names read into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.inference.accelerators import find_accelerator
from hybridsplit.scenarios.inference.networks import network_names, network_values
from hybridsplit.scenarios.inference.schema import InferenceScenario
from hybridsplit.scenarios.messages import explain
from hybridsplit.scenarios.plain import check_plain


def validate_inference(document: Mapping[str, Any], origin: str, folder: Path | None = None) -> InferenceScenario:
    """Check the document of an inference task.

    Parameters
    ----------
    document
        Plain values, as read from YAML or from ``plan.json``.
    origin
        Name of the document in messages.
    folder
        Folder that relative names of layer lists start from; files are not read when None.

    Raises
    ------
    ScenarioError
        If anything is wrong; the message names file, key path, what was found and what is needed.
    """
    check_plain(document, origin)
    located = _with_networks(json.loads(json.dumps(document)), folder, origin)
    try:
        scenario = InferenceScenario.model_validate_json(json.dumps(located))
    except ValidationError as error:
        raise ScenarioError(explain(error, located, origin, InferenceScenario)) from error
    for index, group in enumerate(scenario.accelerators):
        find_accelerator(group.device, scenario.devices, f"{origin}: accelerators.{index}.device")
    return scenario


def _with_networks(document: dict[str, Any], folder: Path | None, origin: str) -> dict[str, Any]:
    """Read the layer lists that apps name; a list from a file goes by the name that it states."""
    apps, networks = document.get("apps"), document.setdefault("networks", {})
    if not isinstance(apps, list) or not isinstance(networks, dict):
        return document
    read: dict[str, str] = {}
    for index, app in enumerate(apps):
        named = app.get("model") if isinstance(app, dict) else None
        if not isinstance(named, str) or (named in networks and named not in read.values()):
            continue
        where = f"{origin}: apps.{index}.model"
        if named not in read:
            values = network_values(named, folder, where)
            name = named if named in network_names() else str(values["model"])
            if name in networks:
                raise ScenarioError(f"{where}: {named} states the name {name!r}, which another layer list has already")
            networks[name] = values
            read[named] = name
        app["model"] = read[named]
    return document
