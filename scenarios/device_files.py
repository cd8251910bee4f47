"""Device files: devices described once, outside any scenario, and named by scenarios under ``device_files``.

``hybridsplit profile --machine`` writes one of the computer it ran on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hybridsplit.scenarios.contracts.files import write_text_whole
from hybridsplit.scenarios.devices import Device
from hybridsplit.scenarios.errors import ScenarioError

DEVICE_FILE_SCHEMA_VERSION = 1
_NEEDED = "a mapping with schema_version: 1 and devices, as 'hybridsplit profile --machine' writes one"


def read_device_file(path: Path, where: str) -> dict[str, Any]:
    """Return the devices of a file by id, checked, as plain values.

    Parameters
    ----------
    path
        The file.
    where
        Key path that names it, for messages.

    Raises
    ------
    ScenarioError
        If it is absent, unreadable or of another version, or a device in it is wrong; the message names file and key.
    """
    if not path.is_file():
        raise ScenarioError(f"{where}: no such file {str(path)!r}; needs a path relative to the scenario file")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ScenarioError(f"{where}: {path} is not readable as YAML ({error}); needs {_NEEDED}") from error
    if not isinstance(document, dict) or not isinstance(document.get("devices"), dict):
        raise ScenarioError(f"{where}: {path} has no mapping 'devices'; needs {_NEEDED}")
    version = document.get("schema_version")
    if version != DEVICE_FILE_SCHEMA_VERSION:
        raise ScenarioError(f"{where}: {path} has schema_version {version!r}; needs {_NEEDED}")
    for device_id, values in document["devices"].items():
        try:
            Device.model_validate_json(json.dumps(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(["devices", str(device_id), *(str(part) for part in first["loc"])])
            raise ScenarioError(f"{where}: {path}: {key}: {first['msg']}; found {first['input']!r}") from error
        except TypeError as error:
            raise ScenarioError(f"{where}: {path}: devices.{device_id}: {error}") from error
    return dict(document["devices"])


def write_device_file(path: Path, devices: Mapping[str, Device], comment: str = "") -> None:
    """Write devices as YAML, whole or not at all.

    Parameters
    ----------
    path
        Where to.
    devices
        By id.
    comment
        Lines for people, put at the top.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    body = {
        "schema_version": DEVICE_FILE_SCHEMA_VERSION,
        "devices": {
            device_id: device.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
            for device_id, device in devices.items()
        },
    }
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    write_text_whole(path, head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True))


def with_device_files(document: Mapping[str, Any], folder: Path, origin: str) -> dict[str, Any]:
    """Return a scenario document whose device files are read into ``devices``.

    Parameters
    ----------
    document
        Plain values of a scenario.
    folder
        Folder that relative file names start from.
    origin
        Name of the document in messages.

    Raises
    ------
    ScenarioError
        If a file is wrong, or two places describe the same device.
    """
    names = document.get("device_files")
    own = document.get("devices") or {}
    if not isinstance(names, list) or not names or not isinstance(own, dict):
        return dict(document)
    merged: dict[str, Any] = {}
    for index, name in enumerate(names):
        where = f"{origin}: device_files.{index}"
        if not isinstance(name, str):
            raise ScenarioError(f"{where}: found {name!r}; needs the path of a device file")
        found = read_device_file(folder / Path(name).expanduser(), where)
        if twice := [device_id for device_id in found if device_id in merged or device_id in own]:
            raise ScenarioError(
                f"{where}: {name} describes {', '.join(twice)}, which is described before or under 'devices'; "
                "rename or remove one"
            )
        merged |= found
    # Read in, they are part of the scenario: a plan made from it needs no file.
    return {**document, "devices": {**merged, **own}, "device_files": []}
