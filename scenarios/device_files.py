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
from hybridsplit.scenarios.plain import check_plain
from hybridsplit.scenarios.shown import gist, shown
from hybridsplit.scenarios.yaml_text import UNREADABLE, problem_of, read_limited, strict_yaml

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
        raise ScenarioError(
            f"{where}: no such file {shown(str(path), 200)}; needs a path relative to the scenario file"
        )
    try:
        document = strict_yaml(read_limited(path))
    except (OSError, *UNREADABLE) as error:
        raise ScenarioError(f"{where}: {path}{problem_of(error)}; needs {_NEEDED}") from error
    if not isinstance(document, dict) or not isinstance(document.get("devices"), dict):
        raise ScenarioError(f"{where}: {path} has no mapping 'devices'; needs {_NEEDED}")
    version = document.get("schema_version")
    if version != DEVICE_FILE_SCHEMA_VERSION:
        raise ScenarioError(f"{where}: {path} has schema_version {shown(version)}; needs {_NEEDED}")
    check_plain(document, f"{where}: {path}")
    for device_id, values in document["devices"].items():
        try:
            Device.model_validate_json(json.dumps(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(["devices", str(device_id), *(str(part) for part in first["loc"])])
            raise ScenarioError(f"{where}: {path}: {key}: {first['msg']}; found {shown(first['input'])}") from error
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


def located(name: str, folder: Path, where: str) -> Path:
    """Return the path that a scenario names, from a folder on.

    Parameters
    ----------
    name
        A path; ``~`` is the user's home.
    folder
        Where relative paths start.
    where
        Key path that holds it, for messages.

    Raises
    ------
    ScenarioError
        If no file can have this name.
    """
    try:
        candidate = folder / Path(name).expanduser()
        candidate.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return candidate
    except (OSError, ValueError, RuntimeError) as error:
        raise ScenarioError(f"{where}: found {shown(name)}, which is no path of a file ({gist(error)})") from error
    return candidate


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
            raise ScenarioError(f"{where}: found {shown(name)}; needs the path of a device file")
        found = read_device_file(located(name, folder, where), where)
        if twice := [device_id for device_id in found if device_id in merged or device_id in own]:
            raise ScenarioError(
                f"{where}: {name} describes {', '.join(twice)}, which is described before or under 'devices'; "
                "rename or remove one"
            )
        merged |= found
    # Read in, they are part of the scenario: a plan made from it needs no file.
    return {**document, "devices": {**merged, **own}, "device_files": []}
