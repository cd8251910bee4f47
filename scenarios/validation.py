"""Check the document of a scenario of training: keys and values, devices, and the files that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybridsplit.scenarios.device_changes import with_catalogue_figures
from hybridsplit.scenarios.device_files import located, with_device_files
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.messages import explain
from hybridsplit.scenarios.pilot_files import with_pilot_file
from hybridsplit.scenarios.plain import check_plain
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.sections.data import DATA_SOURCES
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.units import format_bytes
from hybridsplit.scenarios.user_code import UserFunction, located_function


def validate_scenario(document: Mapping[str, Any], origin: str, folder: Path | None = None) -> Scenario:
    """Check a scenario document and turn relative file names into absolute ones.

    Parameters
    ----------
    document
        Plain values, as read from YAML or from ``plan.json``.
    origin
        Name of the document in messages.
    folder
        Folder that relative file names start from; left as they are when None.

    Raises
    ------
    ScenarioError
        If anything is wrong.
    """
    check_plain(document, origin)
    document = with_catalogue_figures(document, origin)
    if folder is not None:
        document = with_pilot_file(with_device_files(document, folder, origin), folder, origin)
    located = _with_absolute_paths(document, folder, origin) if folder is not None else document
    try:
        # Strict validation of plain values wants JSON input: there a list may fill a tuple and text an enumeration.
        scenario = Scenario.model_validate_json(json.dumps(located))
    except ValidationError as error:
        raise ScenarioError(explain(error, located, origin)) from error
    _check_devices(scenario, origin)
    if folder is not None:
        _check_files(scenario, origin)
    return scenario


def with_model_and_data_located(document: Mapping[str, Any], folder: Path, origin: str) -> dict[str, Any]:
    """Resolve the file names of model and data against the scenario's folder; data by code need no ``source``.

    Parameters
    ----------
    document, folder, origin
        As for :func:`validate_scenario`.

    Raises
    ------
    ScenarioError
        If a name is no path.
    """
    resolved: dict[str, Any] = json.loads(json.dumps(document))
    for section, key, must_be_file in _file_keys(resolved):
        holder = resolved.get(section)
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            where = f"{origin}: {section}.{key}"
            holder[key] = _located(holder[key], folder, where, must_be_file=must_be_file)
    for section in ("model", "data"):
        holder = resolved.get(section)
        if isinstance(holder, dict) and isinstance(holder.get("python"), str):
            holder["python"] = located_function(holder["python"], folder, f"{origin}: {section}.python")
            if section == "data":
                holder.setdefault("source", "python")
    return resolved


def _with_absolute_paths(document: Mapping[str, Any], folder: Path, origin: str) -> dict[str, Any]:
    """Resolve file names against the scenario's folder, so that a run may change directory."""
    resolved = with_model_and_data_located(document, folder, origin)
    groups = resolved.get("clients")
    for index, group in enumerate(groups if isinstance(groups, list) else []):
        link = group.get("link") if isinstance(group, dict) else None
        trace = link.get("trace") if isinstance(link, dict) else None
        where = f"{origin}: clients.{index}.link.trace"
        if isinstance(link, dict) and isinstance(trace, str):
            link["trace"] = _located(trace, folder, where, must_be_file=True)
        elif isinstance(trace, dict) and isinstance(trace.get("path"), str):
            trace["path"] = _located(trace["path"], folder, f"{where}.path", must_be_file=True)
        memory, where = group.get("memory_trace") if isinstance(group, dict) else None, f"{origin}: clients.{index}"
        if isinstance(memory, str):
            group["memory_trace"] = _located(memory, folder, f"{where}.memory_trace", must_be_file=True)
        elif isinstance(memory, dict) and isinstance(memory.get("path"), str):
            memory["path"] = _located(memory["path"], folder, f"{where}.memory_trace.path", must_be_file=True)
    variants = resolved.get("variants")
    for index, variant in enumerate(variants if isinstance(variants, list) else []):
        if isinstance(variant, dict) and isinstance(variant.get("checkpoint"), str):
            where = f"{origin}: variants.{index}.checkpoint"
            variant["checkpoint"] = _located(variant["checkpoint"], folder, where, must_be_file=False)
    return resolved


def _file_keys(document: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Sections and keys that name files, and whether it must be a file: a folder may be a name on the hub."""
    data = document.get("data")
    source = DATA_SOURCES.get(str(data.get("source"))) if isinstance(data, dict) else None
    files = [] if source is None else [("data", key, True) for key in (*source.file_keys, *source.directory_keys)]
    folders = [] if source is None else [("data", key, False) for key in source.folder_keys]
    return [*files, *folders, ("model", "checkpoint", False)]


def _located(name: str, folder: Path, where: str, *, must_be_file: bool) -> str:
    candidate = located(name, folder, where)
    # A checkpoint or tokenizer that is no local folder may be a name on the hub, which stays as it is.
    return str(candidate.resolve()) if must_be_file or candidate.exists() else name


def _check_devices(scenario: Scenario, origin: str) -> None:
    """Check that devices exist, and that no budget is more than a device has."""
    devices = [("server.device", scenario.server.device)]
    devices += [(f"clients.{index}.device", group.device) for index, group in enumerate(scenario.clients)]
    for where, device_id in devices:
        find_device(device_id, scenario.devices, f"{origin}: {where}")
    for index, group in enumerate(scenario.clients):
        device = find_device(group.device, scenario.devices, origin)
        has_bytes = device.memory_bytes
        if device.can_train and has_bytes is not None and group.memory_budget_bytes > has_bytes:
            raise ScenarioError(
                f"{origin}: clients.{index}.memory_budget_bytes: found {format_bytes(group.memory_budget_bytes)}; "
                f"{group.device} has {format_bytes(has_bytes)} in all"
            )


def _check_files(scenario: Scenario, origin: str) -> None:
    """Check that named files exist, and that a partition's key is one the data has."""
    named_files = [(f"data.{key}", getattr(scenario.data, key)) for key in scenario.data.file_keys]
    for index, group in enumerate(scenario.clients):
        trace = group.link.trace
        key = "link.trace" if isinstance(trace, str) else "link.trace.path"
        named_files.append(
            (f"clients.{index}.{key}", trace if isinstance(trace, str) else getattr(trace, "path", None))
        )
        memory = group.memory_trace
        key = "memory_trace" if isinstance(memory, str) else "memory_trace.path"
        file = memory if isinstance(memory, str) else getattr(memory, "path", None)
        named_files.append((f"clients.{index}.{key}", file))
    for where, named in (
        ("model.python", scenario.model.python),
        ("data.python", getattr(scenario.data, "python", None)),
    ):
        if named is not None:
            named_files.append((where, None if (file := UserFunction.parsed(named).file) is None else str(file)))
    for key in scenario.data.directory_keys:
        name = getattr(scenario.data, key)
        if name is not None and not Path(name).is_dir():
            raise ScenarioError(
                f"{origin}: data.{key}: no such folder {shown(name, 200)}; needs a path relative to the scenario file"
            )
    for where, name in named_files:
        if name is not None and not Path(name).is_file():
            raise ScenarioError(
                f"{origin}: {where}: no such file {shown(name, 200)}; needs a path relative to the scenario file"
            )
    key = getattr(scenario.data.partition, "key", "label")
    if key not in scenario.data.natural_keys:
        choices = " or ".join(map(repr, scenario.data.natural_keys))
        raise ScenarioError(f"{origin}: data.partition.key: found {shown(key)}; this source has the keys {choices}")
